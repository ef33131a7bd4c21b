"""Slots of the shared window: take one, settle it, give it back. One conditional write each."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from calling.conditional import TooManyConflicts, Unchanged, Wanted, amend_gate
from core import gate as gates
from core import key_guard, tally
from core import window as windows
from core.answers import Answer, Meaning
from core.gate import Gate
from core.waiting import field_of
from core.window import Change, Denial, FieldValue, Grant, Kind, NotBefore, Permit, Timing
from ports import Clock, Conflict, Randomness, WindowStore, Written


@dataclass(frozen=True, slots=True)
class Lease:
    """A permit, and the monotonic moment at which it was taken."""

    permit: Permit
    taken_mono_ms: int

    def wall_ms(self, mono_ms: int) -> int:
        """Translate a monotonic moment to the wall time that the permit was taken by."""
        return self.permit.taken_at_ms + mono_ms - self.taken_mono_ms


class Slots:
    """Keeps the gate as last seen, so that most decisions cost no read."""

    def __init__(self, store: WindowStore, clock: Clock, randomness: Randomness, timing: Timing) -> None:
        self._store = store
        self._clock = clock
        self._randomness = randomness
        self.timing = timing
        self.gate: Gate | None = None
        self._seen_mono_ms = 0

    async def refresh(self) -> Gate:
        """Read the gate; raises `Unavailable`."""
        return self._see(await self._store.read())

    async def recent(self, age_max_ms: int) -> Gate:
        """Return the gate as it was at most so long ago; raises `Unavailable`."""
        age_ms = self._clock.monotonic_ms() - self._seen_mono_ms
        return self.gate if self.gate and age_ms <= age_max_ms else await self.refresh()

    def _see(self, gate: Gate) -> Gate:
        self.gate, self._seen_mono_ms = gate, self._clock.monotonic_ms()
        return gate

    async def take(
        self,
        kind: Kind,
        call_limit_ms: int,
        *,
        reserve: int = 0,
        aim: int = 0,
        hints: Mapping[str, FieldValue] | None = None,
        turn_of: str | None = None,
    ) -> Lease | NotBefore:
        """Take a slot; raises `Unavailable`, and then a slot may be held for nothing until its lease ends.

        `turn_of`: the caller whose waiting job is called; the turn and the shorter queue are the same write.
        `aim`: see `window.take`. A lost race is tried again on the window as it is now, a few times.
        """
        decisions: list[Grant | NotBefore] = []
        mono_ms = 0

        def decide(gate: Gate) -> Grant | None:
            nonlocal mono_ms
            mono_ms = self._clock.monotonic_ms()
            decision = gates.take(
                gate,
                self._clock.now_ms(),
                permit_id=self._randomness.token(),
                kind=kind,
                timing=self.timing,
                call_limit_ms=call_limit_ms,
                reserve=reserve,
                aim=0 if decisions else aim,
                spread=self._randomness.fraction() if decisions else 0.0,
            )
            decisions.append(decision)
            return decision if isinstance(decision, Grant) else None

        try:
            await self._amend(decide, lambda grant: self._carry_out(grant, hints or {}, turn_of))
        except TooManyConflicts:
            return NotBefore(self._clock.now_ms(), Denial.BUSY)
        last = decisions[-1]
        return Lease(last.permit, mono_ms) if isinstance(last, Grant) else last

    def may_send(self, lease: Lease, since_mono_ms: int | None = None) -> Callable[[], bool]:
        """Return the question to ask as the last thing before the first byte of a request goes out.

        By wall time and by monotonic time: the latter stands still while a machine sleeps, the former may be
        set back. `since_mono_ms`: an earlier moment than the take from which the limit counts.
        """
        mono_ms = lease.taken_mono_ms if since_mono_ms is None else since_mono_ms
        send_by_mono_ms = mono_ms + self.timing.send_limit_ms
        send_by_ms = lease.wall_ms(send_by_mono_ms)

        def question() -> bool:
            return self._clock.now_ms() <= send_by_ms and self._clock.monotonic_ms() <= send_by_mono_ms

        return question

    async def _carry_out(
        self, grant: Grant, hints: Mapping[str, FieldValue], turn_of: str | None
    ) -> Written[Gate] | Conflict[Gate]:
        change = grant.change.also(Change(grant.change.limits_version, values=hints))
        if turn_of is not None:
            turn = Change(
                change.limits_version, values={"served": turn_of}, increments={field_of(turn_of): -1}
            )
            change = change.also(turn)
        result = await self._apply(change)
        # A repeat of a take that had landed fails its own condition: a holder that is me means granted.
        gate = self.gate
        mine = gate.window.slots[grant.permit.slot : grant.permit.slot + 1] if gate else ()
        granted = gate and any(slot.holder == grant.permit.id for slot in mine)
        return Written(gate) if gate and granted else result

    async def settle(self, lease: Lease, answer: Answer, *, at_once: bool = False) -> None:
        """Tell the window what an answer proves, and count it; `at_once`: its caller waits for it.

        An answer of any status frees the slot W after its first byte; a call that was certainly never sent
        gives it back; otherwise, and where this write fails, the lease stands.
        """
        if answer.first_byte_mono_ms is not None:
            at_ms = lease.wall_ms(answer.first_byte_mono_ms) + self._slept_ms(lease)
            await self.amend(lambda gate: self._settled(gate, lease, at_ms, answer, at_once), again=True)
        elif answer.meaning is Meaning.NEVER_SENT:
            await self.amend(lambda gate: windows.give_back(gate.window, lease.permit), again=True)
        else:
            await self.amend(lambda gate: self._counted(gate, windows.note(gate.window), answer))

    def _settled(self, gate: Gate, lease: Lease, at_ms: int, answer: Answer, at_once: bool) -> Change | None:
        """Return the one write for all that an answer shows: of the slot, of the key, of a block."""
        change = windows.settle(gate.window, lease.permit, at_ms, self.timing)
        if change is None:
            return None
        now_ms, taken_at_ms = self._clock.now_ms(), lease.permit.taken_at_ms
        change = change.also(key_guard.learn(gate.key, gate.window, answer.meaning, taken_at_ms, now_ms))
        if answer.meaning is not Meaning.LIMITED:
            change = change.also(windows.unblock(gate.window, taken_at_ms))
        latencies_ms = gate.hints.latencies_with(answer.latency_ms)
        return self._counted(gate, replace(change, latencies_ms=latencies_ms), answer, at_once=at_once)

    def _counted(self, gate: Gate, change: Change, answer: Answer, *, at_once: bool = False) -> Change:
        values = tally.values(gate.tally, answer, self._clock.now_ms())
        counts = tally.increments(answer, at_once=at_once)
        return change.also(Change(gate.window.limits.version, values=values, increments=counts))

    def _slept_ms(self, lease: Lease) -> int:
        """How long the machine slept since the take: monotonic time stood still meanwhile.

        The call may have gone out only at the end of the sleep.
        """
        awake_ms = self._clock.monotonic_ms() - lease.taken_mono_ms
        return max(0, self._clock.now_ms() - lease.permit.taken_at_ms - awake_ms)

    async def try_once(self, change: Change) -> bool:
        """Carry out a change if the gate allows it as it is; of many who try the same, one succeeds."""
        return isinstance(await self._apply(change), Written)

    async def amend(self, decide: Callable[[Gate], Change | None], *, again: bool = False) -> bool:
        """Carry out what `decide` makes of the window; say whether a write landed.

        `again`: a decision for nothing on the gate as last seen is made once more on a fresh read.
        """
        if again and decide(self.gate or await self.refresh()) is None:
            await self.refresh()
        return isinstance(await self._amend(decide, self._apply), Written)

    async def _amend(
        self,
        decide: Callable[[Gate], Wanted | None],
        write: Callable[[Wanted], Awaitable[Written[Gate] | Conflict[Gate]]],
    ) -> Written[Gate] | Unchanged[Gate]:
        return await amend_gate(self.gate or await self.refresh(), decide, write)

    async def _apply(self, change: Change) -> Written[Gate] | Conflict[Gate]:
        result = await self._store.apply(change)
        if result.record:
            self._see(result.record)
        return result
