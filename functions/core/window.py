"""The sliding window: N slots, each used again only a whole window after its last call was answered.

A call reaches the upstream between its send and the first byte of its answer. A slot is taken again at or
after that first byte + W (plus a margin for clocks that differ), so two calls through one slot reach the
upstream at least W apart: N slots, never more than N calls in any W. `docs/window.md` has the argument and
what each guard is for.

Everything here is a pure function from a `Window` to a `Change`: a conditional write. A `WindowStore` carries
it out only if the stored values that the decision was based on have not changed. All times are integer
milliseconds since the epoch.

Cost: one take and one settle per upstream call, each one `UpdateItem` of the whole item. The item measures
0.8 KB at N = 10, 2.4 KB at N = 50 and 4.4 KB at N = 100, which is 1, 3 and 5 write units per update
(`tests/contract/test_window_store.py`). Beyond 100 calls, shard: M items of N/M slots, each caller picks one
at random.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

CALLS_MAX = 100
WINDOW_MS_MIN = 1_000
WINDOW_MS_MAX = 86_400_000
SEND_LIMIT_MS = 2_000
BLOCK_MS_MAX = 86_400_000
END_UNKNOWN_MS = 0
"""The time of a `NotBefore` whose end is not known: only an operator ends a pause."""

FieldValue = int | str | bool
"""What scalar fields of the shared item hold."""


class Kind(StrEnum):
    """What a slot was last used for."""

    NONE = "none"
    FRESH = "fresh"
    RETRY = "retry"
    PROBE = "probe"


@dataclass(frozen=True, slots=True)
class Limits:
    """N calls in any W; the version changes with every change of either."""

    calls: int
    window_ms: int
    version: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.calls <= CALLS_MAX:
            raise ValueError(f"calls must be from 1 to {CALLS_MAX}")
        if not WINDOW_MS_MIN <= self.window_ms <= WINDOW_MS_MAX:
            raise ValueError(f"window_ms must be from {WINDOW_MS_MIN} to {WINDOW_MS_MAX}")


@dataclass(frozen=True, slots=True)
class Timing:
    """The bounds on which exactness rests.

    `send_limit_ms`: a call that was not sent this long after the take is given up.
    `grace_ms`: how long after the call's time-out a call that was sent may still reach the upstream.
    `margin_ms`: at least the worst difference between two hosts' clocks.
    """

    grace_ms: int
    margin_ms: int
    send_limit_ms: int = SEND_LIMIT_MS

    def lease_ms(self, call_limit_ms: int, window_ms: int) -> int:
        """How long a slot is held for a call that is never answered: the worst case."""
        return self.send_limit_ms + call_limit_ms + self.grace_ms + window_ms + self.margin_ms


@dataclass(frozen=True, slots=True)
class Slot:
    """One of the N slots, free from `free_at_ms` on; `holder` is the id of the permit that took it last."""

    free_at_ms: int = 0
    holder: str = ""
    kind: Kind = Kind.NONE


@dataclass(frozen=True, slots=True)
class Window:
    """The slots of one upstream's limit, and what delays all of them.

    `blocked_until_ms`: the upstream asked for no calls until then; one test call may pass at
    `block_probe_at_ms`.
    `blocked_from_ms`: when the upstream last asked for this; an answer to a later call ends the block.
    `tightened_until_ms`: no slot is free before, because calls made under earlier, looser limits still count.
    `deployed`: the limits that the last deployment asked for, as `calls/window_ms`.
    """

    limits: Limits
    slots: tuple[Slot, ...]
    blocked_until_ms: int = 0
    blocked_from_ms: int = 0
    block_probe_at_ms: int = 0
    tightened_until_ms: int = 0
    deployed: str = ""

    def blocked(self, now_ms: int) -> bool:
        """Whether the upstream has asked for no calls now."""
        return self.open_at_ms > now_ms

    @property
    def open_at_ms(self) -> int:
        """When the next call may pass the block: at its end, or earlier as a test call."""
        return min(self.blocked_until_ms, self.block_probe_at_ms)

    def limited_after(self, at_ms: int, now_ms: int) -> bool:
        """Whether the upstream asks for no calls now, and has said so at that time or later."""
        return self.blocked_until_ms > now_ms and self.blocked_from_ms >= at_ms

    def free_slots(self, now_ms: int) -> int:
        """How many slots are free now. A block does not change this number."""
        return sum(slot.free_at_ms <= now_ms for slot in self.slots)

    def calls_of(self, kind: Kind, now_ms: int) -> int:
        """How many busy slots are held by calls of this kind: about those of the last W."""
        return sum(slot.kind is kind and slot.free_at_ms > now_ms for slot in self.slots)


@dataclass(frozen=True, slots=True)
class Change:
    """A conditional write: all of it is written if every expected value is still stored, else nothing."""

    limits_version: int
    expected_slots: Mapping[int, Slot] = field(default_factory=dict)
    slots: Mapping[int, Slot] = field(default_factory=dict)
    expected: Mapping[str, FieldValue] = field(default_factory=dict)
    values: Mapping[str, FieldValue] = field(default_factory=dict)
    increments: Mapping[str, int] = field(default_factory=dict)  # of fields that hold numbers
    latencies_ms: tuple[int, ...] | None = None
    limits: Limits | None = None  # new limits; `slots` then holds every slot of the new window

    def also(self, other: "Change | None") -> "Change":
        """Return one write that does what this one and `other` do."""
        if other is None:
            return self
        counts = {**self.increments, **other.increments}
        for name in self.increments.keys() & other.increments.keys():
            counts[name] = self.increments[name] + other.increments[name]
        return replace(
            self,
            expected={**self.expected, **other.expected},
            values={**self.values, **other.values},
            increments=counts,
        )


@dataclass(frozen=True, slots=True)
class Permit:
    """The right to send one call, once, until `send_by_ms`."""

    id: str
    slot: int
    previous: Slot
    taken_at_ms: int
    send_by_ms: int
    limits: Limits


@dataclass(frozen=True, slots=True)
class Grant:
    """A slot is free. Apply the change; the permit is valid only if the change was written."""

    permit: Permit
    change: Change


class Denial(StrEnum):
    """Why there is no slot now."""

    BUSY = "busy"
    RESERVED = "reserved"
    BLOCKED = "blocked"
    PAUSED = "paused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class NotBefore:
    """No slot now. As far as is known, the next one is free at `at_ms`; `END_UNKNOWN_MS` during a pause."""

    at_ms: int
    reason: Denial


def empty(limits: Limits) -> Window:
    """Return a window in which every slot is free. Use it only if no call was made in the last W."""
    return Window(limits, tuple(Slot() for _ in range(limits.calls)), deployed=_deployed(limits))


def full(limits: Limits, free_at_ms: int) -> Window:
    """Return a window in which every slot is busy until then. Use it if earlier calls are not known."""
    slots = tuple(Slot(free_at_ms=free_at_ms) for _ in range(limits.calls))
    return Window(limits, slots, deployed=_deployed(limits))


def take(
    window: Window,
    now_ms: int,
    *,
    permit_id: str,
    kind: Kind,
    timing: Timing,
    call_limit_ms: int,
    reserve: int = 0,
    aim: int = 0,
    spread: float = 0.0,
) -> Grant | NotBefore:
    """Take the slot that has been free longest, if more than `reserve` are free.

    `aim`: how many other takes run at the same time as this one; each of them aims at another free slot.
    `spread` in [0, 1): picks one of the free slots, so that callers that lost a race for one slot do not all
    race for the next. The slot is leased for the worst case; `settle` shortens the lease when the call is
    answered.
    """
    if window.blocked(now_ms):
        return NotBefore(window.open_at_ms, Denial.BLOCKED)
    order = sorted(range(len(window.slots)), key=lambda index: (window.slots[index].free_at_ms, index))
    needed = window.slots[order[min(reserve + aim, len(order) - 1)]]
    if needed.free_at_ms > now_ms:
        some_free = window.slots[order[0]].free_at_ms <= now_ms
        return NotBefore(needed.free_at_ms, Denial.RESERVED if some_free else Denial.BUSY)
    free = window.free_slots(now_ms)
    index = order[int(spread * free) if spread else min(aim, free - 1)]
    return _grant(window, index, now_ms, permit_id, kind, timing, call_limit_ms)


# One slot, from one call to the next. The write of `take` lands only if the stored slot has not changed.
#
#          take           send            first byte of the answer                        taken again
#   ────────┼──────────────┼───────────────┼────────────────────────────────────────────────┼──────▶ time
#           │◀─ at most D ─▶│               │◀──────────── W + margin ──────────────────────▶│
#                          │◀── arrival ──▶│                                                │◀─ next arrival
#
#   answered:    free at first byte + W + margin: the two arrivals are at least W apart.
#   unanswered:  free at take + D + T + G + W + margin: it may arrive as late as take + D + T + G.
#   never sent:  the slot is given back as it was before the take.
#
#   D: send limit. T: time limit of the call. G: grace, how long after T a call may still arrive.
def _grant(
    window: Window, index: int, now_ms: int, permit_id: str, kind: Kind, timing: Timing, call_limit_ms: int
) -> Grant:
    seen = window.slots[index]
    lease_ms = timing.lease_ms(call_limit_ms, window.limits.window_ms)
    leased = Slot(now_ms + lease_ms, permit_id, kind)
    permit = Permit(permit_id, index, seen, now_ms, now_ms + timing.send_limit_ms, window.limits)
    change = Change(window.limits.version, {index: seen}, {index: leased})
    return Grant(permit, change.also(_probe_block(window, now_ms)))


def _probe_block(window: Window, now_ms: int) -> Change | None:
    """Let one test call pass in each W while the upstream asks for no calls; None if there is no block."""
    if window.blocked_until_ms <= now_ms:
        return None
    return Change(
        window.limits.version,
        expected={"block_probe_at_ms": window.block_probe_at_ms},
        values={"block_probe_at_ms": now_ms + window.limits.window_ms},
    )


def settle(window: Window, permit: Permit, first_byte_at_ms: int, timing: Timing) -> Change | None:
    """Shorten the lease: the slot is free W + margin after the answer's first byte.

    None if the permit holds no slot any more. An answer of any status settles a call; without an answer the
    lease stays as it is.
    """
    held = _held(window, permit)
    if held is None:
        return None
    index, seen = held
    free_at_ms = first_byte_at_ms + window.limits.window_ms + timing.margin_ms
    settled = replace(seen, free_at_ms=max(free_at_ms, window.tightened_until_ms))
    return Change(window.limits.version, {index: seen}, {index: settled})


def give_back(window: Window, permit: Permit) -> Change | None:
    """Restore the slot of a call that was certainly never sent; None if the permit does not hold it any more.

    After a change of limits the slot's earlier state is not valid any more: then the lease stays as it is.
    """
    held = _held(window, permit)
    if held is None or window.limits != permit.limits:
        return None
    index, seen = held
    return Change(window.limits.version, {index: seen}, {index: permit.previous})


def fill(window: Window, free_at_ms: int) -> Change:
    """Make every slot busy until then. Use it if calls may have been made that the window does not know."""
    slots = {index: Slot(max(slot.free_at_ms, free_at_ms)) for index, slot in enumerate(window.slots)}
    return Change(window.limits.version, expected_slots=dict(enumerate(window.slots)), slots=slots)


def _held(window: Window, permit: Permit) -> tuple[int, Slot] | None:
    """Find the permit's slot by its holder: a change of limits may have moved it."""
    for index, slot in enumerate(window.slots):
        if slot.holder == permit.id:
            return index, slot
    return None


def block(window: Window, now_ms: int, until_ms: int) -> Change | None:
    """Stop calls until then, at most for a day; None if a later 429 is known.

    A block never becomes shorter. The upstream's `Retry-After` may be wrong, so one call per W tests whether
    calls are accepted again.
    """
    until_ms = min(until_ms, now_ms + BLOCK_MS_MAX)
    if window.blocked_until_ms >= until_ms and window.blocked_from_ms >= now_ms:
        return None
    values: dict[str, FieldValue] = {"blocked_from_ms": now_ms}
    if window.blocked_until_ms < until_ms:
        probe_at_ms = now_ms + window.limits.window_ms
        values |= {"blocked_until_ms": until_ms, "block_probe_at_ms": probe_at_ms}
    return Change(
        window.limits.version, expected={"blocked_until_ms": window.blocked_until_ms}, values=values
    )


def unblock(window: Window, taken_at_ms: int) -> Change | None:
    """End a block that began before an accepted call was taken; None if there is no such block."""
    if not window.blocked_until_ms or taken_at_ms <= window.blocked_from_ms:
        return None
    return Change(
        window.limits.version,
        expected={"blocked_until_ms": window.blocked_until_ms},
        values={"blocked_until_ms": 0, "block_probe_at_ms": 0},
    )


def write_fields(window: Window, **values: FieldValue) -> Change:
    """Write fields without a condition on their stored values."""
    return Change(window.limits.version, values=values)


def change_limits(window: Window, calls: int, window_ms: int, *, deployed: bool) -> Change | None:
    """Change N and W so that, for each call taken from now on, its W holds at most N calls.

    None if nothing changes. Times in `window` and in the result are milliseconds since the epoch.

    - Fewer slots: the slots that are busy longest stay. None of them is free before the last dropped slot
      would have been, even if its own call is answered sooner.
    - A longer window: earlier calls may be closer together than the new W allows, so no slot is free before
      all of them are older than the new W.
    - A shorter window: no slot is free earlier than before.
    - More slots: the added slots are free at once, unless earlier tightened limits still delay all slots.
    """
    limits = Limits(calls, window_ms, window.limits.version + 1)
    marked = _deployed(limits) if deployed else window.deployed
    same = (calls, window_ms) == (window.limits.calls, window.limits.window_ms)
    if same and marked == window.deployed:
        return None
    if same:
        return write_fields(window, deployed=marked)
    longer_ms = max(0, window_ms - window.limits.window_ms)
    slots = sorted(window.slots, key=lambda slot: slot.free_at_ms, reverse=True)
    waited_for = slots if longer_ms else slots[calls:]
    waits_ms = [window.tightened_until_ms, *(slot.free_at_ms for slot in waited_for)]
    tightened_until_ms = max(waits_ms) + longer_ms
    kept = [replace(slot, free_at_ms=max(slot.free_at_ms, tightened_until_ms)) for slot in slots[:calls]]
    added = [Slot(free_at_ms=tightened_until_ms) for _ in range(calls - len(kept))]
    return Change(
        window.limits.version,
        expected_slots=dict(enumerate(window.slots)),
        slots=dict(enumerate(kept + added)),
        values={"deployed": marked, "tightened_until_ms": tightened_until_ms},
        limits=limits,
    )


def wants_deployed(window: Window, limits: Limits) -> bool:
    """Whether these limits differ from those that the last deployment asked for.

    An operator's change stays until a deployment asks for other limits than the last deployment did.
    """
    return window.deployed != _deployed(limits)


def _deployed(limits: Limits) -> str:
    return f"{limits.calls}/{limits.window_ms}"
