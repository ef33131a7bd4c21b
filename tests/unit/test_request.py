"""Every transition of a request and its delivery, by exact numbers."""

from dataclasses import replace

import pytest

from core import clocks
from core import job as jobs
from core import request as requests
from core.job import DAY_MS, OUTCOME_KEPT_MS
from core.request import Delivery, DeliveryState, Failure, Request, RequestState

NOW = 1_800_000_000_000
WAITING = jobs.schedule(None, "hello", NOW)
RETRYING = replace(WAITING, attempts=2, next_try_ms=NOW + 30_000, due_ms=NOW + 30_000)
FENCED = jobs.fence(WAITING, "call", NOW, call_for_ms=12_250, retry_ms=30_000)
OPEN = Request("id", WAITING.id, "hello", "alice", "https://example.com/", NOW, due_ms=NOW + 5_000)
PENDING = requests.close_signed(OPEN, "signature", NOW)
BEGUN = replace(
    PENDING, delivery=replace(PENDING.delivery, attempts=1, until_ms=NOW + 30_000), due_ms=NOW + 30_000
)


@pytest.mark.parametrize(
    ("age_ms", "wait_ms"),
    [(0, 60_000), (60_000, 60_000), (61_000, 61_000), (600_000, 600_000), (5_000_000, 600_000)],
)
def test_an_open_request_is_looked_at_again_after_its_age(age_ms: int, wait_ms: int) -> None:
    """From one minute to ten: those that wait long are not looked at often, but stay on the index."""
    now_ms = OPEN.created_ms + age_ms
    assert requests.look_again(OPEN, RETRYING, now_ms).due_ms == now_ms + wait_ms


def test_a_request_is_looked_at_when_its_first_call_should_have_ended() -> None:
    """While its job waits in a long line, nothing can have been overlooked."""
    waiting = replace(OPEN, estimated_ms=NOW + 3_600_000)
    assert requests.look_again(waiting, WAITING, NOW + 60_000).due_ms == NOW + 3_660_000
    assert requests.look_again(waiting, RETRYING, NOW + 60_000).due_ms == NOW + 120_000


@pytest.mark.parametrize(
    ("overdue_ms", "wait_ms"), [(0, 30_000), (30_000, 30_000), (100_000, 100_000), (6_000_000, 900_000)]
)
def test_a_message_that_is_sent_again_backs_off(overdue_ms: int, wait_ms: int) -> None:
    """From 30 s to 15 min: hours without a notifier pile few messages up."""
    now_ms = PENDING.delivery.not_before_ms + overdue_ms
    assert requests.resend_delivery(PENDING, now_ms).due_ms == now_ms + wait_ms


def test_a_closed_request_starts_its_delivery() -> None:
    """Outcome and delivery are one write, and the delivery is on the index should its message be lost."""
    assert (PENDING.state, PENDING.signature, PENDING.closed_ms) == (RequestState.SIGNED, "signature", NOW)
    assert PENDING.delivery == Delivery(DeliveryState.PENDING, not_before_ms=NOW)
    assert (PENDING.due_ms, PENDING.expires_ms) == (NOW + 30_000, None)


@pytest.mark.parametrize(
    "closed",
    [
        requests.close_signed(OPEN, "signature", NOW, notify=False),
        requests.close_signed(replace(OPEN, webhook_url=""), "signature", NOW),
    ],
)
def test_who_is_not_told_by_webhook_is_done_at_once(closed: Request) -> None:
    """Answered already, or polling: nothing is due, and the record may go in two weeks."""
    assert closed.delivery.state is DeliveryState.NONE
    assert (closed.due_ms, closed.expires_ms) == (None, NOW + OUTCOME_KEPT_MS)


def test_a_failure_says_why() -> None:
    """Status and reason are the caller's to read."""
    failed = requests.close_failed(OPEN, 504, "too_old", NOW)
    assert (failed.state, failed.outcome) == (RequestState.FAILED, Failure(504, "too_old"))
    assert failed.delivery_due


@pytest.mark.parametrize(
    ("request_", "attempt", "at_ms", "begins"),
    [
        (PENDING, 0, NOW, True),
        (PENDING, 0, NOW - requests.EARLY_MS, True),
        (PENDING, 0, NOW - requests.EARLY_MS - 1, False),
        (PENDING, 1, NOW, False),
        (BEGUN, 0, NOW + 30_000, False),
        (BEGUN, 1, NOW + 30_000 - requests.EARLY_MS - 1, False),
        (BEGUN, 1, NOW + 30_000, True),
        (OPEN, 0, NOW, False),
        (requests.delivered(BEGUN, NOW, "http_200"), 1, NOW + 60_000, False),
    ],
)
def test_only_the_attempt_that_is_due_begins(
    request_: Request, attempt: int, at_ms: int, begins: bool
) -> None:
    """Late, early and repeated messages are dropped; clocks that differ a little do no harm."""
    begun = requests.begin_delivery(request_, attempt, at_ms)
    assert (begun is not None) is begins
    if begun is not None:
        assert begun.delivery.attempts == attempt + 1
        assert begun.delivery.until_ms == begun.due_ms == at_ms + requests.DELIVERY_LIVE_MS


def test_a_parked_delivery_is_no_attempt() -> None:
    """It waits for its receiver: the number of attempts stays, and the sweep leaves it alone for an hour."""
    parked = requests.park_delivery(PENDING, NOW, "circuit_open")
    assert (parked.delivery.attempts, parked.delivery.reason) == (0, "circuit_open")
    assert parked.delivery.not_before_ms == PENDING.delivery.not_before_ms
    assert parked.due_ms == NOW + 3_600_000


@pytest.mark.parametrize(
    ("ended", "state"),
    [
        (requests.delivered(BEGUN, NOW, "http_200"), DeliveryState.DELIVERED),
        (requests.delivery_gone(BEGUN, NOW, "http_410", ""), DeliveryState.GONE),
        (requests.undeliverable(BEGUN, NOW, "http_500", "oops"), DeliveryState.UNDELIVERABLE),
    ],
)
def test_an_ended_delivery_is_off_the_index(ended: Request, state: DeliveryState) -> None:
    """Delivered, gone or given up: kept two weeks, for the status and for replay."""
    assert (ended.delivery.state, ended.delivery.ended_ms, ended.delivery.until_ms) == (state, NOW, 0)
    assert (ended.due_ms, ended.expires_ms) == (None, NOW + OUTCOME_KEPT_MS)


@pytest.mark.parametrize(
    ("request_", "ended_ms"),
    [
        (OPEN, None),
        (PENDING, None),
        (requests.close_signed(OPEN, "signature", NOW, notify=False), NOW),
        (requests.close_failed(replace(OPEN, webhook_url=""), 504, "too_old", NOW), NOW),
        (requests.delivered(PENDING, NOW + 7, "http_204"), NOW + 7),
        (requests.undeliverable(PENDING, NOW + 7, "http_500", ""), NOW + 7),
    ],
)
def test_a_request_has_ended_when_nothing_is_to_be_done(request_: Request, ended_ms: int | None) -> None:
    """Outcome and webhook both: then it is due no more."""
    assert request_.ended_ms == ended_ms
    assert (request_.due_ms is None) == (ended_ms is not None)


def test_calls_count_from_the_acceptance() -> None:
    """Those before it are not its own, nor is one that is under way; a job made anew counts from nothing."""
    request = replace(OPEN, attempts_before=2)
    assert request.calls_of(replace(RETRYING, attempts=5)) == 3
    assert request.calls_of(replace(RETRYING, attempts=1)) == 0
    assert request.calls_of(None) is None


@pytest.mark.parametrize(("queued", "due_ms"), [(True, NOW + 35_000), (False, NOW + 5_000)])
def test_a_failed_attempt_is_due_again(queued: bool, due_ms: int) -> None:
    """With a message on its way the index looks only in case that is lost."""
    failed = requests.delivery_failed(BEGUN, NOW, NOW + 5_000, "http_500", "oops", queued=queued)
    assert (failed.delivery.not_before_ms, failed.delivery.until_ms) == (NOW + 5_000, 0)
    assert (failed.delivery.attempts, failed.due_ms) == (1, due_ms)


def test_a_webhook_that_waits_for_a_day_is_looked_at_earlier() -> None:
    """No row of the index is due later than `WAIT_MS_MAX`; a look in between sends nothing."""
    failed = requests.delivery_failed(BEGUN, NOW, NOW + DAY_MS, "http_503", "", queued=False)
    assert failed.due_ms == NOW + clocks.WAIT_MS_MAX
    assert not requests.attempt_due(failed, failed.due_ms)
    assert requests.resend_delivery(failed, failed.due_ms).due_ms == NOW + 2 * clocks.WAIT_MS_MAX
    assert requests.resend_delivery(failed, NOW + DAY_MS - 1).due_ms == NOW + DAY_MS
    assert requests.attempt_due(failed, NOW + DAY_MS)


def test_a_message_that_is_sent_again_moves_its_row_on() -> None:
    """One sender wins, and the next look comes later."""
    assert requests.resend_delivery(PENDING, NOW + 30_000).due_ms == NOW + 60_000


def test_a_replay_starts_from_the_first_attempt() -> None:
    """An operator's replay is a new delivery of the same outcome."""
    again = requests.replay_delivery(requests.undeliverable(BEGUN, NOW, "http_500", ""), NOW + 9)
    assert again.delivery == Delivery(DeliveryState.PENDING, not_before_ms=NOW + 9)
    assert (again.due_ms, again.expires_ms) == (NOW + 9 + requests.RESEND_MS, None)
    assert (again.state, again.signature) == (PENDING.state, PENDING.signature)
