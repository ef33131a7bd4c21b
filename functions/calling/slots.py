"""Slots of the shared window: take one, settle it, give it back. One conditional write each."""

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from calling.conditional import TooManyConflicts, Unchanged, Wanted, amend_gate
from core import gate as gates
from core import key_guard, tally
from core import window as windows
from core.answers import Answer, Meaning
from core.errors import Unavailable
from core.gate import Gate
from core.waiting import field_of
from core.window import Change, Denial, FieldValue, Grant, Kind, NotBefore, Permit, Timing
from ports import Clock, Conflict, Randomness, WindowStore, Written


@dataclass(frozen=True, slots=True)
class Lease:
    """A permit, and when it was taken, in monotonic milliseconds."""

    permit: Permit
    taken_mono_ms: int

    def wall_ms(self, mono_ms: int) -> int:
        """Convert a monotonic time to wall time, starting from the moment of the take."""
        return self.permit.taken_at_ms + mono_ms - self.taken_mono_ms


class Slots:
    """Takes and settles slots. Keeps the gate as last read, so that most decisions need no read."""

    def __init__(self, store: WindowStore, clock: Clock, randomness: Randomness, timing: Timing) -> None:
        self._store = store
        self._clock = clock
        self._randomness = randomness
        self.timing = timing
        self.gate: Gate | None = None
        self._counts: dict[str, int] = {}
        self._read_mono_ms = 0

    async def refresh(self) -> Gate:
        """Read the gate; raises `Unavailable`."""
        return self._remember(await self._store.read())

    async def recent(self, age_max_ms: int) -> Gate:
        """Return the gate as it was at most `age_max_ms` ago; raises `Unavailable`."""
        age_ms = self._clock.monotonic_ms() - self._read_mono_ms
        return self.gate if self.gate and age_ms <= age_max_ms else await self.refresh()

    def _remember(self, gate: Gate) -> Gate:
        self.gate, self._read_mono_ms = gate, self._clock.monotonic_ms()
        return gate

    async def take(
        self,
        kind: Kind,
        call_limit_ms: int,
        reserve: int = 0,
        aim: int = 0,
        *,
        hints: Mapping[str, FieldValue] | None = None,
        queue: str | None = None,
    ) -> Lease | NotBefore:
        """Take a slot. Raises `Unavailable`: then a slot may be leased without a call until its lease ends.

        `queue`: the caller whose waiting job is called; the same write shortens its queue. `aim`: see
        `window.take`. After a conflict the take is tried again, up to `TRIES_MAX` times.
        """
        decisions: list[Lease | NotBefore] = []

        def decide(gate: Gate) -> Grant | None:
            mono_ms, again = self._clock.monotonic_ms(), bool(decisions)
            decision = self._decide(gate, kind, call_limit_ms, reserve, aim, again=again)
            if isinstance(decision, NotBefore):
                decisions.append(decision)
                return None
            decisions.append(Lease(decision.permit, mono_ms))
            return decision

        try:
            await self._amend(decide, lambda grant: self._write_grant(grant, hints or {}, queue))
        except TooManyConflicts:
            return NotBefore(self._clock.now_ms(), Denial.BUSY)
        return decisions[-1]

    def _decide(
        self, gate: Gate, kind: Kind, call_limit_ms: int, reserve: int, aim: int, *, again: bool
    ) -> Grant | NotBefore:
        """Decide on a slot; `again`: after a conflict, when the free slot to take is picked at random."""
        return gates.take(
            gate,
            self._clock.now_ms(),
            permit_id=self._randomness.token(),
            kind=kind,
            timing=self.timing,
            call_limit_ms=call_limit_ms,
            reserve=reserve,
            aim=0 if again else aim,
            spread=self._randomness.fraction() if again else 0.0,
        )

    def may_send(self, lease: Lease, since_mono_ms: int | None = None) -> Callable[[], bool]:
        """Return a function that says whether the call may still be sent.

        It must be called immediately before the first byte of the request is sent. It checks both clocks: the
        monotonic one stops while a machine sleeps, and the wall clock may be set back. `since_mono_ms`: the
        send limit counts from here, if that is earlier than the take.
        """
        mono_ms = lease.taken_mono_ms if since_mono_ms is None else since_mono_ms
        send_by_mono_ms = mono_ms + self.timing.send_limit_ms
        send_by_ms = lease.wall_ms(send_by_mono_ms)

        def question() -> bool:
            return self._clock.now_ms() <= send_by_ms and self._clock.monotonic_ms() <= send_by_mono_ms

        return question

    async def _write_grant(
        self, grant: Grant, hints: Mapping[str, FieldValue], queue: str | None
    ) -> Written[Gate] | Conflict[Gate]:
        change = grant.change.also(Change(grant.change.limits_version, values=hints))
        if queue is not None:
            left = Change(change.limits_version, increments={field_of(queue): -1})
            change = change.also(left)
        result = await self._apply(change)
        # If the SDK repeats a take that was already written, its condition fails. The slot's holder then is
        # this permit: the take was granted.
        gate = self.gate
        mine = gate.window.slots[grant.permit.slot : grant.permit.slot + 1] if gate else ()
        granted = gate and any(slot.holder == grant.permit.id for slot in mine)
        return Written(gate) if gate and granted else result

    async def settle(self, lease: Lease, answer: Answer, *, at_once: bool = False) -> None:
        """Settle the slot of a call, and count the answer. `at_once`: the caller waits for this answer.

        After an answer of any status, the slot is free W after its first byte. A call that was certainly not
        sent gives its slot back. Otherwise, and if this write fails, the slot stays leased.
        """
        if answer.first_byte_mono_ms is not None:
            at_ms = lease.wall_ms(answer.first_byte_mono_ms) + self._slept_ms(lease)
            await self.amend(lambda gate: self._settled(gate, lease, at_ms, answer, at_once), again=True)
        elif answer.meaning is Meaning.NEVER_SENT:
            await self.amend(lambda gate: windows.give_back(gate.window, lease.permit), again=True)
        else:
            await self.amend(lambda gate: self._unanswered(gate, answer))

    def _settled(self, gate: Gate, lease: Lease, at_ms: int, answer: Answer, at_once: bool) -> Change | None:
        """Return one write for all that an answer changes: the slot, the key guard, a block, the counts."""
        change = windows.settle(gate.window, lease.permit, at_ms, self.timing)
        if change is None:
            return None
        now_ms, taken_at_ms = self._clock.now_ms(), lease.permit.taken_at_ms
        change = change.also(key_guard.learn(gate.key, gate.window, answer.meaning, taken_at_ms, now_ms))
        if answer.meaning is not Meaning.LIMITED:
            change = change.also(windows.unblock(gate.window, taken_at_ms))
        latencies_ms = gate.hints.latencies_with(answer.latency_ms)
        return self._counted(gate, replace(change, latencies_ms=latencies_ms), answer, at_once=at_once)

    def _unanswered(self, gate: Gate, answer: Answer) -> Change:
        """The lease stands; that the call took at least so long is part of the estimate."""
        latencies_ms = gate.hints.latencies_with(answer.latency_ms)
        return self._counted(
            gate, replace(windows.write_fields(gate.window), latencies_ms=latencies_ms), answer
        )

    def _counted(self, gate: Gate, change: Change, answer: Answer, *, at_once: bool = False) -> Change:
        values = tally.values(gate.tally, answer, self._clock.now_ms())
        counts = tally.increments(answer, at_once=at_once)
        return change.also(Change(gate.window.limits.version, values=values, increments=counts))

    def _slept_ms(self, lease: Lease) -> int:
        """How long the machine slept since the take; the monotonic clock stops during sleep.

        It is added to the answer's time, because the call may have been sent as late as the sleep's end.
        """
        awake_ms = self._clock.monotonic_ms() - lease.taken_mono_ms
        return max(0, self._clock.now_ms() - lease.permit.taken_at_ms - awake_ms)

    async def try_once(self, change: Change) -> bool:
        """Try a conditional write once; say whether it landed. If several try the same one, one succeeds."""
        return isinstance(await self._apply(change), Written)

    async def amend(self, decide: Callable[[Gate], Change | None], *, again: bool = False) -> bool:
        """Write the change that `decide` returns (None: no write); say whether a write landed.

        `again`: if `decide` returns None for the gate as last read, the gate is read and it decides again.
        """
        if again and decide(self.gate or await self.refresh()) is None:
            await self.refresh()
        return isinstance(await self._amend(decide, self._apply), Written)

    def count_later(self, counts: Mapping[str, int]) -> None:
        """Add numbers to fields of the gate, in the next write of it."""
        for name, number in counts.items():
            self._counts[name] = self._counts.get(name, 0) + number

    async def write_counts(self) -> None:
        """Write what no other write has carried. If that fails, the processor corrects the counts."""
        if any(self._counts.values()):
            with contextlib.suppress(Unavailable):
                await self.amend(lambda gate: Change(gate.window.limits.version))

    async def _amend(
        self,
        decide: Callable[[Gate], Wanted | None],
        write: Callable[[Wanted], Awaitable[Written[Gate] | Conflict[Gate]]],
    ) -> Written[Gate] | Unchanged[Gate]:
        return await amend_gate(self.gate or await self.refresh(), decide, write)

    async def _apply(self, change: Change) -> Written[Gate] | Conflict[Gate]:
        counts = {name: self._counts.pop(name) for name in self._counts.keys() - change.values.keys()}
        result = await self._store.apply(change.also(Change(change.limits_version, increments=counts)))
        if isinstance(result, Conflict):
            self.count_later(counts)
        if result.record:
            self._remember(result.record)
        return result
