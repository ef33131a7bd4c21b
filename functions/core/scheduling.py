"""Which job is called next, and when.

- Fresh jobs come before retries.
- The delay between retries grows with the age of the outage.
- Retries leave a reserve of free slots for new requests.
- If fresh jobs wait and a retry has been due for too long, every second call is for such a retry.
- If a fresh job is late, every second call is for the oldest such job, whoever's turn it is.

`docs/benchmarks.md` has the measurements for each rule. Times are integer milliseconds since the epoch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from core import clocks, waiting
from core.gate import Gate
from core.hints import Hints
from core.window import FieldValue, Kind, Slot, Window

RESERVE_MAX = 4
OLD_RETRY_WINDOWS = 10
NEVER_MS = 10**15
JITTER_SHARE = 0.1
OUTAGE_SHARE = 10
INLINE_MIN_MS = 100


@dataclass(frozen=True, slots=True)
class Due:
    """A job that may be called now, as the due index or a queue message shows it.

    `due_ms`: when a fresh job was scheduled, or when a retry may be called.
    `oldest_ms`: when its oldest open request was accepted, as last read.
    `client`: the caller in whose queue it waits.
    """

    job_id: str
    due_ms: int
    oldest_ms: int
    client: str = ""


@dataclass(frozen=True, slots=True)
class Next:
    """The job to call next: take a slot of this kind, if more than `reserve` slots are free.

    `old_retry`, `late`: it is called because it has waited for long, and takes nobody's turn.
    """

    due: Due
    kind: Kind
    reserve: int
    old_retry: bool = False
    late: bool = False

    @property
    def hints(self) -> dict[str, FieldValue]:
        """What the take of its slot records in the shared item."""
        if self.late:
            return {"late_last": True}
        turn: dict[str, FieldValue] = {"late_last": False, "old_retry_last": self.old_retry}
        return turn | {"served" if self.kind is Kind.FRESH else "retry_served": self.due.client}


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose turn it is. `served`, `retry_served`: the callers whose jobs of each kind were called last.

    `old_retry_last`: whether the last call was for a retry that had been due for long; calls for late jobs
    are left out. `late_last`: whether the last call was for a late job.
    """

    served: str = ""
    retry_served: str = ""
    old_retry_last: bool = False
    late_last: bool = False

    @classmethod
    def of(cls, hints: Hints) -> "Turn":
        """Return the turn as the shared item has it."""
        return cls(hints.served, hints.retry_served, hints.old_retry_last, hints.late_last)

    def after(self, call: Next) -> "Turn":
        """Return the turn after this call."""
        changes: Any = call.hints
        return replace(self, **changes)


def reserve(window: Window, now_ms: int) -> int:
    """How many free slots retries leave for new requests, so that those are answered at once.

    One more than half of the fresh calls of the last window, at most 4 and at most half of the slots. Without
    recent fresh calls there is no reserve, so that retries may use every slot.
    """
    recent = window.calls_of(Kind.FRESH, now_ms)
    if not recent:
        return 0
    return min((recent + 1) // 2 + 1, RESERVE_MAX, window.limits.calls // 2)


def choose(
    fresh: Sequence[Due],
    retries: Sequence[Due],
    window: Window,
    now_ms: int,
    turn: Turn,
    *,
    late_ms: int = NEVER_MS,
) -> Next | None:
    """Return the job to call next; None if nothing is due.

    `fresh`, `retries`: the jobs that are due now. The callers have their turns one after another, in each of
    the two; each caller's job that has been due longest comes first.

    While both kinds wait, every second call is for a retry that has been due for more than ten windows. The
    time since it is due counts, not the request's age: a request may have waited that long for its first
    call and have failed only just now.

    `late_ms`: how long a fresh job may wait until it is late. Turns alone would give a caller with a long
    queue ever fewer calls, the more callers come after it.
    """
    oldest = min(fresh, key=lambda due: due.due_ms, default=None)
    if oldest and oldest.due_ms < now_ms - late_ms and not turn.late_last:
        return Next(oldest, Kind.FRESH, 0, late=True)
    if not fresh:
        retry = _in_turn(retries, turn.retry_served)
        return Next(retry, Kind.RETRY, reserve(window, now_ms)) if retry else None
    old_before_ms = now_ms - OLD_RETRY_WINDOWS * window.limits.window_ms
    old = [due for due in retries if due.due_ms < old_before_ms]
    if not turn.old_retry_last and (retry := _in_turn(old, turn.retry_served)):
        return Next(retry, Kind.RETRY, 0, old_retry=True)
    due = _in_turn(fresh, turn.served)
    return Next(due, Kind.FRESH, 0) if due else None


def _in_turn(due: Sequence[Due], served: str) -> Due | None:
    """Return the oldest job of the caller whose turn it is; None without jobs."""
    if not due:
        return None
    client, *_ = waiting.in_turn((each.client for each in due), served)
    return min((each for each in due if each.client == client), key=lambda each: each.due_ms)


def turns(
    fresh: Sequence[Due],
    retries: Sequence[Due],
    window: Window,
    now_ms: int,
    turn: Turn,
    *,
    calls_max: int,
    late_ms: int = NEVER_MS,
) -> list[Next]:
    """Return the jobs to call now, in order: one for each free slot that may be taken, up to `calls_max`."""
    chosen = list[Next]()
    while len(chosen) < calls_max:
        call = choose(fresh, retries, window, now_ms, turn, late_ms=late_ms)
        if call is None or window.free_slots(now_ms) <= call.reserve:
            break
        chosen.append(call)
        turn = turn.after(call)
        fresh = [due for due in fresh if due is not call.due]
        retries = [due for due in retries if due is not call.due]
        window = _with_one_taken(window, now_ms, call.kind)
    return chosen


def _with_one_taken(window: Window, now_ms: int, kind: Kind) -> Window:
    free = next(index for index, slot in enumerate(window.slots) if slot.free_at_ms <= now_ms)
    taken = Slot(now_ms + 1, kind=kind)
    return replace(window, slots=(*window.slots[:free], taken, *window.slots[free + 1 :]))


def retry_at_ms(now_ms: int, failing_since_ms: int, retry_ms: int, jitter: float) -> int:
    """When a message that failed may be called again: after `retry_ms`, or a tenth of the outage if longer.

    `jitter` in [0, 1) lengthens the delay by up to a tenth; it never shortens it. The delay is at most
    `WAIT_MS_MAX`.
    """
    delay_ms = max(retry_ms, (now_ms - failing_since_ms) // OUTAGE_SHARE)
    return now_ms + min(round(delay_ms * (1 + JITTER_SHARE * jitter)), clocks.WAIT_MS_MAX)


class Inline(StrEnum):
    """Whether the API may call the upstream itself, and if not, why."""

    YES = "yes"
    SLOW_PROBE = "slow_probe"
    PAUSED = "paused"
    KEY_REFUSED = "key_refused"
    UPSTREAM_LIMITED = "upstream_limited"
    NO_SLOT = "no_slot"
    OTHERS_WAIT = "others_wait"
    TOO_SLOW = "too_slow"
    NO_TIME = "no_time"


def may_try_inline(gate: Gate, now_ms: int, time_left_ms: int) -> Inline:
    """Whether the API may call now: no fresh job waits, a slot is free, and an answer is likely in time.

    A call that times out holds its slot for a whole lease. So while the upstream is slower than the time
    left, only one inline call per window tests whether it still is.
    """
    if time_left_ms < INLINE_MIN_MS:
        return Inline.NO_TIME
    if held_back := _held_back(gate, now_ms):
        return held_back
    if gate.hints.latency_ms <= time_left_ms:
        return Inline.YES
    if gate.hints.slow_probe_at_ms <= now_ms - gate.window.limits.window_ms:
        return Inline.SLOW_PROBE
    return Inline.TOO_SLOW


def _held_back(gate: Gate, now_ms: int) -> Inline | None:
    """Why no new request may be called now, however fast the upstream is; None if it may."""
    if gate.paused:
        return Inline.PAUSED
    if gate.key.suspected:
        return Inline.KEY_REFUSED
    if gate.window.blocked(now_ms):
        return Inline.UPSTREAM_LIMITED
    if waiting.total(gate.waiting):
        return Inline.OTHERS_WAIT
    return None if gate.window.free_slots(now_ms) else Inline.NO_SLOT


def call_time_ms(gate: Gate, now_ms: int, ahead: int) -> int:
    """When a call with `ahead` other calls before it can start at the earliest, if they may use all slots.

    For a call under way, the usual latency is assumed instead of its lease's end: nearly all are answered.
    All slots are free within one cycle, so each later round is the first one, a cycle later.
    """
    start_ms, cycle_ms = gate.open_at_ms(now_ms), _cycle_ms(gate)
    first_ms = sorted(max(start_ms, min(slot.free_at_ms, now_ms + cycle_ms)) for slot in gate.window.slots)
    rounds, index = divmod(ahead, len(first_ms))
    return first_ms[index] + rounds * cycle_ms


def calls_within(gate: Gate, now_ms: int, span_ms: int) -> int:
    """How many calls can start within `span_ms`, if they may use all slots."""
    start_ms, cycle_ms = gate.open_at_ms(now_ms), _cycle_ms(gate)
    left_ms = (
        now_ms + span_ms - max(start_ms, min(slot.free_at_ms, now_ms + cycle_ms))
        for slot in gate.window.slots
    )
    return sum(left // cycle_ms + 1 for left in left_ms if left >= 0)


def ready_at_ms(gate: Gate, now_ms: int, ahead: int, earliest_ms: int = 0) -> int:
    """When a job's first call, with `ahead` other calls before it, should have been answered."""
    return max(call_time_ms(gate, now_ms, ahead), earliest_ms) + gate.hints.latency_ms


def retry_ready_at_ms(gate: Gate, now_ms: int, retries_ahead: int, due_ms: int) -> int:
    """When a retry that is due at `due_ms` should have been answered.

    All jobs that wait for their first call come before it, then `retries_ahead`. It leaves the reserve.
    """
    ahead = waiting.total(gate.waiting) + retries_ahead
    slot_at_ms = slot_for_retry_at_ms(_answered(gate, now_ms), max(now_ms, due_ms))
    return max(call_time_ms(gate, now_ms, ahead), slot_at_ms) + gate.hints.latency_ms


class GivingUp(StrEnum):
    """Why a request is given up after a failed call."""

    ATTEMPTS = "attempts_exhausted"
    AGE = "too_old"


def give_up(calls: int, age_ms: int, *, attempts_max: int, age_max_ms: int) -> GivingUp | None:
    """Return why a request is given up after a call, by its calls and its age; None if it is not."""
    if calls >= attempts_max:
        return GivingUp.ATTEMPTS
    if age_ms >= age_max_ms:
        return GivingUp.AGE
    return None


def _cycle_ms(gate: Gate) -> int:
    """How long a slot is busy with a call that is answered."""
    return gate.window.limits.window_ms + gate.hints.latency_ms


def slot_for_fresh_at_ms(gate: Gate, now_ms: int) -> int:
    """When a fresh call can be made at the earliest: now, or when the next slot is free."""
    first_ms = min(slot.free_at_ms for slot in gate.window.slots)
    return max(first_ms, gate.open_at_ms(now_ms))


def slot_for_retry_at_ms(gate: Gate, now_ms: int) -> int:
    """When a retry can be made at the earliest: as soon as more slots are free than the reserve holds.

    The reserve shrinks when slots become free, so each of these times is checked, in order.
    """
    window, start_ms = gate.window, gate.open_at_ms(now_ms)
    moments_ms = sorted({start_ms, *(max(start_ms, slot.free_at_ms) for slot in window.slots)})
    return next(at_ms for at_ms in moments_ms if window.free_slots(at_ms) > reserve(window, at_ms))


def next_call_at_ms(gate: Gate, now_ms: int, due_ms: int, *, fresh: bool) -> int | None:
    """When a job that is due at `due_ms` may be called; None while calls are paused.

    While the key is suspected: when its next probe is due. A call in flight holds its slot for a whole lease
    until it is answered, so its expected answer counts here, not the lease's end.
    """
    if gate.paused:
        return None
    if gate.key.suspected:
        return max(now_ms, gate.key.probe_at_ms)
    slot_at_ms = slot_for_fresh_at_ms if fresh else slot_for_retry_at_ms
    return slot_at_ms(_answered(gate, now_ms), max(now_ms, due_ms))


def _answered(gate: Gate, now_ms: int) -> Gate:
    """Return the gate as it would be if every call in flight were answered with the usual latency."""
    cycle_ms = gate.window.limits.window_ms + gate.hints.latency_ms
    slots = (replace(slot, free_at_ms=min(slot.free_at_ms, now_ms + cycle_ms)) for slot in gate.window.slots)
    return replace(gate, window=replace(gate.window, slots=tuple(slots)))
