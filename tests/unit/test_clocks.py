"""What another host's wrong clock has stored holds nothing back for longer than the longest true wait."""

from dataclasses import replace

import pytest

from core import clocks
from core import job as jobs
from core import request as requests
from core.circuit import OPEN_MAX_MS, Receiver
from core.claim import new_claim
from core.gate import Gate
from core.in_flight import InFlight, Lease, occupy
from core.job import Call, Waiter
from core.request import Request
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
        "paused_at_ms",
        "failing_since_ms",
        "error_at_ms",
    ],
)
async def test_no_stored_time_lies_further_ahead_than_it_can(name: str) -> None:
    """Each of them holds something back, or speaks for something that was never so."""
    gate = await bounded(GATE.having(None, **{name: NOW + 10 * DAY}))
    assert int(gate.value(name)) <= NOW + DAY + 60_000
    assert clocks.bounded(gate, NOW) is None


async def test_a_caller_s_count_is_corrected_although_its_last_job_entered_tomorrow() -> None:
    """A count is left alone for five seconds after an entry, so an entry of tomorrow counts as one of now."""
    gate = await bounded(replace(GATE, entered={"alice": NOW + DAY, "bob": NOW}))
    assert gate.entered == {"alice": NOW, "bob": NOW}


@pytest.mark.parametrize(
    ("at_ms", "is_to_come"),
    [
        (NOW, False),
        (NOW + 1, True),
        (NOW + 5_000 + clocks.SKEW_MS_MAX, True),
        (NOW + 5_001 + clocks.SKEW_MS_MAX, False),
    ],
)
def test_a_time_beyond_the_longest_wait_is_over(at_ms: int, is_to_come: bool) -> None:
    """It can't be true; the difference between two right clocks is allowed for."""
    assert clocks.to_come(at_ms, NOW, 5_000) is is_to_come


def test_a_job_that_is_due_tomorrow_is_due_now() -> None:
    """A call that a host a day ahead began is over, and the message may be called again."""
    job = jobs.schedule(None, "hello", NOW, Waiter("1", "alice"))
    fenced = replace(job, call=Call("call", NOW + DAY), due_ms=NOW + DAY, next_try_ms=NOW + DAY)
    assert not fenced.callable_by_processor(NOW)
    assert jobs.plausible(fenced, NOW).callable_by_processor(NOW)
    assert jobs.plausible(job, NOW) is job
    near = jobs.fence(job, "call", NOW, call_for_ms=clocks.CALL_MS_MAX, retry_ms=clocks.WAIT_MS_MAX)
    assert near.call_live(NOW)
    assert jobs.plausible(near, NOW) is near


def test_a_refusal_of_tomorrow_answers_nobody_new() -> None:
    """It answers the request that it was made for; the next one is called again."""
    ttl_ms = 3_600_000
    refused = jobs.refused(jobs.new_job("hello", NOW), 400, NOW + DAY)
    assert refused.answers(NOW, ttl_ms)
    assert not refused.refuses(NOW, ttl_ms)
    assert jobs.refused(refused, 400, NOW).refuses(NOW, ttl_ms)


REQUEST = Request("id", "job", "hello", "alice", "https://receiver.example", NOW, due_ms=NOW + 60_000)
CLOSED = requests.close_signed(REQUEST, "signature", NOW + DAY)


def test_a_request_of_tomorrow_is_one_of_now() -> None:
    """Else no outcome would answer it until then, and it would not age."""
    ahead = replace(REQUEST, created_ms=NOW + DAY, estimated_ms=NOW + DAY, due_ms=NOW + DAY)
    looked_at = requests.look_again(ahead, jobs.new_job("hello", NOW), NOW)
    assert (looked_at.created_ms, looked_at.due_ms) == (NOW, NOW + 60_000)
    assert requests.plausible(REQUEST, NOW) is REQUEST


def test_a_webhook_whose_request_was_closed_tomorrow_is_sent_now() -> None:
    """Its first attempt never waits."""
    begun = requests.begin_delivery(CLOSED, 0, NOW)
    assert begun
    assert begun.delivery.until_ms == NOW + requests.DELIVERY_LIVE_MS


def test_an_attempt_that_began_tomorrow_is_over() -> None:
    """Its notifier may still send the webhook; then it comes twice."""
    begun = requests.begin_delivery(CLOSED, 0, NOW + DAY)
    assert begun
    assert requests.begin_delivery(begun, 1, NOW)


def test_a_row_that_is_due_after_the_longest_wait_takes_its_attempt_along() -> None:
    """A wait of a day is true if it was stored with a look within hours, else the clock was wrong."""
    begun = requests.begin_delivery(requests.close_signed(REQUEST, "signature", NOW), 0, NOW)
    assert begun
    asked = requests.delivery_failed(begun, NOW, NOW + DAY, "http_503", "", queued=False)
    assert requests.plausible(asked, NOW) is asked
    ahead = requests.delivery_failed(begun, NOW + DAY, NOW + DAY + 5_000, "http_503", "", queued=True)
    assert requests.attempt_due(requests.plausible(ahead, NOW), NOW)


def test_a_circuit_that_closes_tomorrow_is_closed() -> None:
    """No circuit is open for longer than a minute."""
    receiver = replace(Receiver("alice https://receiver.example"), open_until_ms=NOW + DAY)
    assert receiver.probe_in_ms(NOW) == 0
    assert replace(receiver, open_until_ms=NOW + OPEN_MAX_MS).probe_in_ms(NOW) == OPEN_MAX_MS


def test_a_place_that_was_taken_tomorrow_is_free() -> None:
    """It would keep a host busy until then."""
    places = InFlight("host", tuple(Lease(str(n), "alice", "receiver", NOW + DAY) for n in range(4)))
    assert occupy(places, Lease("new", "alice", "receiver", NOW), 3)


def test_an_idempotency_key_that_was_taken_tomorrow_is_abandoned() -> None:
    """Its request may be processed again under the same id; else a repetition would get a 409 until then."""
    claim = new_claim("alice", "key", "", "id", NOW + DAY)
    assert claim.abandoned(NOW)
    assert not replace(claim, claimed_ms=NOW + 1_000).abandoned(NOW)
