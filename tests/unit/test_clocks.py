"""What another host's wrong clock has stored holds nothing back for longer than it ever can."""

from dataclasses import replace

import pytest

from core import clocks
from core import job as jobs
from core.gate import Gate
from core.job import Call, Waiter
from core.window import Limits, Slot, Window
from ports import Written
from tests.fakes.memory import MemoryWindow, MemoryWindowStore

NOW = 1_800_000_000_000
DAY = 86_400_000
GATE = Gate(Window(Limits(2, 60_000), (Slot(NOW + DAY, "ahead"), Slot(NOW + 60_000, "true"))))


async def bounded(gate: Gate) -> Gate:
    change = clocks.bounded(gate, NOW)
    assert change
    result = await MemoryWindowStore(MemoryWindow(gate), lambda: gate).apply(change)
    assert isinstance(result, Written)
    return result.record


async def test_a_slot_that_is_leased_for_a_day_is_free_after_one_lease() -> None:
    """It fails closed for the longest lease that any settings allow; a true lease is left as it is."""
    gate = await bounded(GATE)
    ahead, true = gate.window.slots
    assert NOW + 60_000 + 660_000 < ahead.free_at_ms <= NOW + 60_000 + 800_000
    assert true == GATE.window.slots[1]
    assert clocks.bounded(gate, NOW) is None


@pytest.mark.parametrize(
    "name",
    [
        "tightened_until_ms",
        "blocked_until_ms",
        "block_probe_at_ms",
        "probe_at_ms",
        "key_good_ms",
        "suspect_since_ms",
        "blocked_from_ms",
        "slow_probe_at_ms",
    ],
)
async def test_no_stored_time_lies_further_ahead_than_it_can(name: str) -> None:
    """Each of them holds something back, or speaks for something that was never so."""
    gate = await bounded(GATE.having(None, **{name: NOW + 10 * DAY}))
    assert int(gate.value(name)) <= NOW + DAY + 60_000
    assert clocks.bounded(gate, NOW) is None


def test_a_job_that_is_due_tomorrow_is_brought_near() -> None:
    """A call that a host a day ahead has begun is over when the longest one is."""
    job = jobs.schedule(None, "hello", NOW, Waiter("1", "alice"))
    fenced = replace(job, call=Call("call", NOW + DAY), due_ms=NOW + DAY, next_try_ms=NOW + DAY)
    near = clocks.bounded_job(fenced, NOW, 600_000)
    assert near.due_ms == near.next_try_ms == NOW + 600_000
    assert near.call == Call("call", NOW + clocks.CALL_MS_MAX)
    assert clocks.bounded_job(near, NOW, 600_000) is near
    assert clocks.bounded_job(job, NOW, 600_000) is job
