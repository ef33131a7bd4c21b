"""What may hold calls back beside the window, and the hints that travel with it."""

from typing import Any

import pytest

from core import gate as gates
from core import hints, key_guard
from core import window as windows
from core.gate import Gate
from core.hints import Hints
from core.window import Change, Denial, Grant, Kind, Limits, NotBefore, Slot, Timing, Window
from ports import Conflict, Written
from tests.fakes.memory import MemoryWindow, MemoryWindowStore

NOW_MS = 1_000_000
OPEN = Gate(Window(Limits(1, 60_000), (Slot(),)))


async def written(gate: Gate, change: Change | None) -> Gate:
    assert change is not None
    result = await MemoryWindowStore(MemoryWindow(gate), lambda: gate).apply(change)
    assert isinstance(result, Written)
    return result.record


async def refused(gate: Gate, change: Change | None) -> bool:
    assert change is not None
    return isinstance(await MemoryWindowStore(MemoryWindow(gate), lambda: gate).apply(change), Conflict)


@pytest.mark.parametrize(
    ("state", "kind", "expected"),
    [
        ({"paused": True}, Kind.FRESH, NotBefore(0, Denial.PAUSED)),
        ({"paused": True}, Kind.PROBE, NotBefore(0, Denial.PAUSED)),
        ({"blocked_until_ms": NOW_MS + 7}, Kind.FRESH, NotBefore(NOW_MS + 7, Denial.BLOCKED)),
        ({"blocked_until_ms": NOW_MS + 7}, Kind.PROBE, NotBefore(NOW_MS + 7, Denial.BLOCKED)),
        ({"blocked_until_ms": NOW_MS}, Kind.FRESH, None),
        ({"suspect_job": "j", "probe_at_ms": NOW_MS + 9}, Kind.RETRY, NotBefore(NOW_MS + 9, Denial.BLOCKED)),
        ({"suspect_job": "j", "probe_at_ms": NOW_MS - 9}, Kind.FRESH, NotBefore(NOW_MS, Denial.BLOCKED)),
        ({"suspect_job": "j", "probe_at_ms": NOW_MS - 9}, Kind.PROBE, None),
    ],
)
def test_a_closed_gate_grants_nothing(state: dict[str, Any], kind: Kind, expected: NotBefore | None) -> None:
    """A pause, a block or a suspected key stops calls though slots are free; only a probe passes the last."""
    decision = gates.take(
        OPEN.having(**state),
        NOW_MS,
        permit_id="mine",
        kind=kind,
        timing=Timing(grace_ms=10_000, margin_ms=250),
        call_limit_ms=30_000,
    )
    assert isinstance(decision, Grant) if expected is None else decision == expected


async def test_a_pause_is_written_once() -> None:
    """It says who paused, and when; a second pause leaves that as it is, and a resume leaves nothing."""
    paused = await written(OPEN, gates.pause(OPEN, by="olga", now_ms=NOW_MS))
    assert paused == OPEN.having(paused=True, paused_by="olga", paused_at_ms=NOW_MS)
    assert gates.pause(paused, by="otto", now_ms=NOW_MS + 1) is None
    assert await written(paused, gates.resume(paused)) == OPEN
    assert gates.resume(OPEN) is None


async def test_a_refused_key_blocks_calls_for_a_window_once() -> None:
    """All calls in flight may be refused: one of them blocks, and the blocked time is counted once."""
    gate = await written(OPEN, key_guard.suspect(OPEN.key, OPEN.window, "job", NOW_MS))
    assert gate.closed(NOW_MS)
    assert (gate.key.suspect_job, gate.key.probe_at_ms) == ("job", NOW_MS + 60_000)
    assert (gate.window.blocked_until_ms, gate.key.key_blocked_ms) == (NOW_MS + 60_000, 60_000)
    assert key_guard.suspect(gate.key, gate.window, "other", NOW_MS + 59_999) is None
    later = await written(gate, key_guard.suspect(gate.key, gate.window, "job", NOW_MS + 60_000))
    assert (later.key.probe_at_ms, later.key.key_blocked_ms) == (NOW_MS + 120_000, 120_000)


async def test_a_good_key_lets_calls_go_on() -> None:
    """The suspicion goes; of two runs that clear it on one view, one write lands."""
    gate = await written(OPEN, key_guard.suspect(OPEN.key, OPEN.window, "job", NOW_MS))
    clear = key_guard.clear(gate.key, gate.window, NOW_MS)
    cleared = await written(gate, clear)
    assert not cleared.closed(NOW_MS + 60_000)
    assert await refused(cleared, clear)


def test_latency_is_the_median_of_the_last_ones() -> None:
    """One slow call makes no slow upstream; nothing known is half a second."""
    assert Hints().latency_ms == 500
    assert Hints((200, 30_000, 300)).latency_ms == 300


def test_only_the_last_latencies_are_kept() -> None:
    """Eight, newest last."""
    assert Hints(tuple(range(8))).latencies_with(99) == (1, 2, 3, 4, 5, 6, 7, 99)


async def test_of_many_who_see_nobody_awake_one_write_lands() -> None:
    """A burst wakes the processor once."""
    wake = hints.announce(OPEN.hints, OPEN.window, NOW_MS, fresh_waits=False)
    assert wake
    awake = await written(OPEN, wake)
    assert awake == OPEN.having(awake_until_ms=NOW_MS + 5_000)
    assert await refused(awake, wake)


async def test_a_burst_is_announced_by_few_writes() -> None:
    """A job that waits speaks for those of the next quarter of a second; a run at work needs no wake."""
    awake = OPEN.having(awake_until_ms=NOW_MS + 5_000)
    told = hints.announce(awake.hints, awake.window, NOW_MS, fresh_waits=True)
    assert told
    assert not told.expected
    gate = await written(awake, told)
    assert gate == awake.having(fresh_queued_at_ms=NOW_MS + 250)
    assert hints.announce(gate.hints, gate.window, NOW_MS + 250, fresh_waits=True) is None
    assert hints.announce(gate.hints, gate.window, NOW_MS + 251, fresh_waits=True)
    assert hints.announce(gate.hints, gate.window, NOW_MS + 251, fresh_waits=False) is None


async def test_fields_that_no_decision_was_based_on_are_written_whatever_was_there() -> None:
    """The slots stay as they are."""
    assert await written(OPEN, windows.note(OPEN.window, fresh_queued_at_ms=5)) == OPEN.having(
        fresh_queued_at_ms=5
    )
