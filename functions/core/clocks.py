"""Corrects times that a host with a wrong clock stored, so that they can't stop calls for too long.

The time of a past event, such as an answer, can't be in the future. A lease or a wait can't end later than
the longest one that the settings allow. A later time is replaced by the latest possible one: calls may still
wait for one whole lease, but not longer.

A host whose own clock is far behind would shorten correct leases. AWS refuses its requests, because their
signatures must not be more than five minutes old.
"""

from dataclasses import replace

from core.gate import Gate
from core.job import Call, Job
from core.key_guard import PROBE_EVERY_MS
from core.window import BLOCK_MS_MAX, SEND_LIMIT_MS, Change, FieldValue

SKEW_MS_MAX = 60_000
CALL_LIMIT_MS_MAX = 60_000
GRACE_MS_MAX = 600_000
CALL_MS_MAX = SEND_LIMIT_MS + CALL_LIMIT_MS_MAX + SKEW_MS_MAX
PAST = ("key_good_ms", "suspect_since_ms", "blocked_from_ms", "slow_probe_at_ms")


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
    if not late and not ahead:
        return None
    values: dict[str, FieldValue] = {
        name: now_ms if name in PAST else now_ms + latest_ms[name] for name in ahead
    }
    slots = {index: replace(slot, free_at_ms=now_ms + lease_ms) for index, slot in late.items()}
    return Change(gate.window.limits.version, expected_slots=late, slots=slots, expected=ahead, values=values)


def bounded_job(job: Job, now_ms: int, wait_max_ms: int) -> Job:
    """Return a job that is due no later than `wait_max_ms` from now; the same one if it is."""
    until_ms = now_ms + CALL_MS_MAX
    call = job.call
    if call and call.until_ms > until_ms:
        call = Call(call.id, until_ms)
    if job.due_ms is None or (job.due_ms <= now_ms + wait_max_ms and call is job.call):
        return job
    latest_ms = max(until_ms, now_ms + wait_max_ms)
    due_ms, next_try_ms = min(job.due_ms, latest_ms), min(job.next_try_ms, latest_ms)
    return replace(job, call=call, due_ms=due_ms, next_try_ms=next_try_ms)
