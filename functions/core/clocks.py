"""Corrects times that a host with a wrong clock stored, so that they can't delay anything for too long.

No wait is longer than a named limit: a later time can't be true. The shared item fails closed: calls may
still wait for one longest lease from now. In any other record such a time counts as over: the worst result
is one call or one webhook too many. The time of a past event, such as an answer, can't be in the future.

A host whose own clock is far behind would shorten correct leases. AWS refuses its requests, because their
signatures must not be more than five minutes old.
"""

from dataclasses import replace

from core.gate import Gate
from core.key_guard import PROBE_EVERY_MS
from core.waiting import entered_field_of
from core.window import BLOCK_MS_MAX, SEND_LIMIT_MS, Change, FieldValue

SKEW_MS_MAX = 60_000
"""The greatest difference between two clocks that settings allow."""
CALL_LIMIT_MS_MAX = 60_000
GRACE_MS_MAX = 600_000
CALL_MS_MAX = SEND_LIMIT_MS + CALL_LIMIT_MS_MAX + SKEW_MS_MAX
WAIT_MS_MAX = 6 * 3_600_000
"""No row of the due index is due later than this, from the moment of its write."""
PAST = (
    "key_good_ms",
    "suspect_since_ms",
    "blocked_from_ms",
    "slow_probe_at_ms",
    "paused_at_ms",
    "failing_since_ms",
    "error_at_ms",
)


def possible(at_ms: int, now_ms: int, longest_ms: int) -> bool:
    """Whether a stored time may be true: it is past, or at most `longest_ms` from now."""
    return at_ms <= now_ms + longest_ms + SKEW_MS_MAX


def to_come(at_ms: int, now_ms: int, longest_ms: int) -> bool:
    """Whether a stored time is in the future; one that can't be true counts as past."""
    return now_ms < at_ms and possible(at_ms, now_ms, longest_ms)


def past(at_ms: int, now_ms: int) -> int:
    """Return the time of a past event; now, if the stored one is in the future."""
    return at_ms if possible(at_ms, now_ms, 0) else now_ms


def bounded(gate: Gate, now_ms: int) -> Change | None:
    """Return the write that corrects impossible times in the shared item; None if there are none."""
    window_ms = gate.window.limits.window_ms
    lease_ms = CALL_MS_MAX + GRACE_MS_MAX + window_ms
    late = {
        index: slot for index, slot in enumerate(gate.window.slots) if slot.free_at_ms > now_ms + lease_ms
    }
    latest_ms = dict.fromkeys(PAST, SKEW_MS_MAX) | {
        "tightened_until_ms": lease_ms,
        "blocked_until_ms": BLOCK_MS_MAX + SKEW_MS_MAX,
        "block_probe_at_ms": window_ms + SKEW_MS_MAX,
        "probe_at_ms": PROBE_EVERY_MS + CALL_MS_MAX,
    }
    seen = {name: gate.value(name) for name in latest_ms}
    ahead = {name: value for name, value in seen.items() if int(value) > now_ms + latest_ms[name]}
    entered = {
        entered_field_of(client): at_ms
        for client, at_ms in gate.entered.items()
        if not possible(at_ms, now_ms, 0)
    }
    if not late and not ahead and not entered:
        return None
    values: dict[str, FieldValue] = dict.fromkeys(entered, now_ms)
    for name in ahead:
        values[name] = now_ms if name in PAST else now_ms + latest_ms[name]
    slots = {index: replace(slot, free_at_ms=now_ms + lease_ms) for index, slot in late.items()}
    return Change(
        gate.window.limits.version,
        expected_slots=late,
        slots=slots,
        expected={**ahead, **entered},
        values=values,
    )
