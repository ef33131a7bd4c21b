"""Every transition of jobs, requests and deliveries, by exact numbers."""

from dataclasses import replace

import pytest

from core import job as jobs
from core.job import Delivery, DeliveryState, Job, JobState, Request, RequestState

NOW = 1_800_000_000_000
WAITING = jobs.schedule(None, "hello", NOW)
RETRYING = replace(
    WAITING, state=JobState.RETRYING, attempts=2, next_try_ms=NOW + 30_000, due_ms=NOW + 30_000
)
IDLE = jobs.park(RETRYING)
SIGNED = jobs.signed(WAITING, "signature", NOW)
REFUSED = jobs.refused(WAITING, 400, NOW)
NEW = jobs.new_job("hello", NOW)


def _fence(job: Job, now_ms: int = NOW) -> Job:
    return jobs.fence(job, "call", now_ms, call_for_ms=12_250, retry_ms=30_000)


@pytest.mark.parametrize(
    ("job", "at_ms", "by_api", "by_processor"),
    [
        (NEW, NOW, True, False),
        (WAITING, NOW, False, True),
        (WAITING, NOW - 1, False, False),
        (RETRYING, NOW + 29_999, False, False),
        (RETRYING, NOW + 30_000, False, True),
        (IDLE, NOW + 29_999, False, False),
        (IDLE, NOW + 30_000, True, False),
        (SIGNED, NOW + 999, False, False),
        (SIGNED, NOW + 1_000, True, False),
        (REFUSED, NOW + 999, False, False),
        (REFUSED, NOW + 1_000, True, False),
        (_fence(NEW), NOW + 12_249, False, False),
        (_fence(NEW), NOW + 29_999, False, False),
        (_fence(NEW), NOW + 30_000, True, False),
        (_fence(WAITING), NOW + 29_999, False, False),
        (_fence(WAITING), NOW + 30_000, False, True),
    ],
)
def test_who_may_call(job: Job, at_ms: int, by_api: bool, by_processor: bool) -> None:
    """The API what nobody waits for, the processor what somebody does, nobody one live or just refused."""
    assert job.callable_by_api(at_ms, ttl_ms=1_000) is by_api
    assert job.callable_by_processor(at_ms) is by_processor


@pytest.mark.parametrize(
    ("before", "state", "due_ms", "expires_ms"),
    [
        (NEW, JobState.IDLE, None, NOW + 30_000 + jobs.IDLE_KEPT_MS),
        (WAITING, JobState.RETRYING, NOW + 30_000, None),
        (RETRYING, JobState.RETRYING, NOW + 30_000, None),
        (SIGNED, JobState.IDLE, None, NOW + 30_000 + jobs.IDLE_KEPT_MS),
    ],
)
def test_a_fence_holds_until_its_call_must_have_ended(
    before: Job, state: JobState, due_ms: int | None, expires_ms: int | None
) -> None:
    """It counts as a call, and if nothing more is heard, the next one is a whole retry distance away."""
    fenced = _fence(before)
    assert (fenced.state, fenced.due_ms, fenced.expires_ms) == (state, due_ms, expires_ms)
    assert (fenced.call_id, fenced.call_until_ms) == ("call", NOW + 12_250)
    assert (fenced.attempts, fenced.next_try_ms) == (before.attempts + 1, NOW + 30_000)
    assert (fenced.signature, fenced.signed_at_ms) == ("", 0)
    assert fenced.call_live(NOW + 12_249)
    assert not fenced.call_live(NOW + 12_250)


def test_a_long_call_moves_the_next_try_behind_its_end() -> None:
    """The next call never comes while this one may live."""
    fenced = jobs.fence(NEW, "call", NOW, call_for_ms=62_250, retry_ms=30_000)
    assert fenced.next_try_ms == NOW + 62_250


def test_the_outage_begins_with_the_first_call() -> None:
    """Retries are spaced by the outage's whole age, so its beginning is kept."""
    first = _fence(NEW)
    assert first.failing_since_ms == NOW
    assert _fence(first, NOW + 60_000).failing_since_ms == NOW


@pytest.mark.parametrize("job", [WAITING, RETRYING, SIGNED, REFUSED])
def test_scheduling_leaves_alone_what_is_scheduled_or_done(job: Job) -> None:
    """The very same record comes back: there is nothing to write."""
    assert jobs.schedule(job, "hello", NOW + 1) is job


@pytest.mark.parametrize(
    ("job", "state", "due_ms"),
    [
        (None, JobState.WAITING, NOW),
        (NEW, JobState.WAITING, NOW),
        (IDLE, JobState.RETRYING, NOW + 30_000),
        (replace(IDLE, next_try_ms=NOW - 5), JobState.RETRYING, NOW),
        (_fence(NEW), JobState.RETRYING, NOW + 30_000),
    ],
)
def test_scheduling_brings_back_what_is_idle_or_gone(job: Job | None, state: JobState, due_ms: int) -> None:
    """A job that somebody waits for is on the due index, not before its next try, and never expires."""
    scheduled = jobs.schedule(job, "hello", NOW)
    assert (scheduled.state, scheduled.due_ms, scheduled.expires_ms) == (state, due_ms, None)
    assert scheduled.oldest_ms == NOW


def test_parking_remembers_the_attempts_for_a_while() -> None:
    """Nobody waits: off the index, and kept ten minutes beyond the next try."""
    assert (IDLE.state, IDLE.due_ms, IDLE.attempts) == (JobState.IDLE, None, 2)
    assert IDLE.expires_ms == NOW + 30_000 + jobs.IDLE_KEPT_MS


@pytest.mark.parametrize(
    ("before", "wanted", "after"),
    [
        (None, False, replace(NEW, expires_ms=NOW + jobs.IDLE_KEPT_MS)),
        (None, True, WAITING),
        (IDLE, False, IDLE),
        (WAITING, False, WAITING),
        (SIGNED, False, SIGNED),
        (SIGNED, True, SIGNED),
    ],
)
def test_a_fence_taken_back_leaves_what_was_there(before: Job | None, wanted: bool, after: Job) -> None:
    """No slot was to be had: as if there had been no fence, unless somebody came to wait."""
    fenced = _fence(before or NEW)
    assert jobs.unfence(fenced, before, NOW, wanted=wanted) == after


def test_a_fence_taken_back_does_not_forget_who_came_meanwhile() -> None:
    """Whoever attached while the fence stood made the job scheduled, and it stays so."""
    attached = jobs.schedule(_fence(NEW), "hello", NOW)
    assert jobs.unfence(attached, None, NOW).scheduled


def test_a_signature_ends_the_call_and_the_outage() -> None:
    """Whoever brings it: the job is off the index and kept for two weeks."""
    signed = jobs.signed(_fence(RETRYING), "signature", NOW)
    assert (signed.state, signed.signature, signed.signed_at_ms) == (JobState.SIGNED, "signature", NOW)
    assert (signed.call_id, signed.due_ms, signed.failing_since_ms) == ("", None, 0)
    assert signed.expires_ms == NOW + jobs.KEPT_MS


@pytest.mark.parametrize(("at_ms", "shown"), [(NOW + 999, "signature"), (NOW + 1_000, "")])
def test_a_signature_answers_new_callers_only_while_it_is_fresh(at_ms: int, shown: str) -> None:
    """The time to live is about new callers; those who wait get it whenever it came."""
    assert SIGNED.fresh_signature(at_ms, 1_000) == shown


def test_a_refusal_is_for_good() -> None:
    """It ends the call and says with which status the upstream refused."""
    refused = jobs.refused(_fence(RETRYING), 422, NOW)
    assert (refused.state, refused.refusal, refused.call_id) == (JobState.REFUSED, 422, "")
    assert (refused.due_ms, refused.expires_ms) == (None, NOW + jobs.KEPT_MS)


@pytest.mark.parametrize(
    ("before", "counted", "wanted", "state", "attempts", "due_ms"),
    [
        (RETRYING, True, False, JobState.RETRYING, 3, NOW + 40_000),
        (RETRYING, False, False, JobState.RETRYING, 2, NOW + 40_000),
        (WAITING, False, False, JobState.WAITING, 0, NOW + 40_000),
        (NEW, True, False, JobState.IDLE, 1, None),
        (NEW, True, True, JobState.RETRYING, 1, NOW + 40_000),
        (NEW, False, True, JobState.WAITING, 0, NOW + 40_000),
    ],
)
def test_a_failed_call_is_tried_again_only_if_somebody_waits(
    before: Job, counted: bool, wanted: bool, state: JobState, attempts: int, due_ms: int | None
) -> None:
    """A call that was never sent does not count; one that nobody waits for leaves the job idle."""
    failed = jobs.failed(_fence(before), NOW, NOW + 40_000, counted=counted, wanted=wanted)
    assert (failed.state, failed.attempts, failed.due_ms) == (state, attempts, due_ms)
    assert (failed.call_id, failed.next_try_ms) == ("", NOW + 40_000)
    assert (failed.expires_ms is None) is failed.scheduled


OPEN = Request("id", WAITING.id, "hello", "alice", "https://example.com/", NOW, due_ms=NOW + 5_000)
PENDING = jobs.close_signed(OPEN, "signature", NOW)
BEGUN = replace(
    PENDING, delivery=replace(PENDING.delivery, attempts=1, until_ms=NOW + 30_000), due_ms=NOW + 30_000
)


@pytest.mark.parametrize(("job", "due_ms"), [(_fence(WAITING), NOW + 10_000), (WAITING, NOW + 60_000)])
def test_an_open_request_is_looked_at_again(job: Job, due_ms: int) -> None:
    """Soon while a call is under way, later while the job is scheduled: but it stays on the index."""
    assert jobs.look_again(OPEN, job, NOW).due_ms == due_ms


def test_a_closed_request_starts_its_delivery() -> None:
    """Outcome and delivery are one write, and the delivery is on the index should its message be lost."""
    assert (PENDING.state, PENDING.signature, PENDING.closed_ms) == (RequestState.SIGNED, "signature", NOW)
    assert PENDING.delivery == Delivery(DeliveryState.PENDING, not_before_ms=NOW)
    assert (PENDING.due_ms, PENDING.expires_ms) == (NOW + 30_000, None)


@pytest.mark.parametrize(
    "closed",
    [
        jobs.close_signed(OPEN, "signature", NOW, notify=False),
        jobs.close_signed(replace(OPEN, webhook_url=""), "signature", NOW),
    ],
)
def test_who_is_not_told_by_webhook_is_done_at_once(closed: Request) -> None:
    """Answered already, or polling: nothing is due, and the record may go in two weeks."""
    assert closed.delivery.state is DeliveryState.NONE
    assert (closed.due_ms, closed.expires_ms) == (None, NOW + jobs.KEPT_MS)


def test_a_failure_says_why() -> None:
    """Status and reason are the caller's to read."""
    failed = jobs.close_failed(OPEN, 504, "too_old", NOW)
    assert (failed.state, failed.failure_status, failed.failure_reason) == (
        RequestState.FAILED,
        504,
        "too_old",
    )
    assert failed.delivery_due


@pytest.mark.parametrize(
    ("request_", "attempt", "at_ms", "begins"),
    [
        (PENDING, 0, NOW, True),
        (PENDING, 0, NOW - jobs.EARLY_MS, True),
        (PENDING, 0, NOW - jobs.EARLY_MS - 1, False),
        (PENDING, 1, NOW, False),
        (BEGUN, 0, NOW + 30_000, False),
        (BEGUN, 1, NOW + 30_000 - jobs.EARLY_MS - 1, False),
        (BEGUN, 1, NOW + 30_000, True),
        (OPEN, 0, NOW, False),
        (jobs.delivered(BEGUN, NOW, "http_200"), 1, NOW + 60_000, False),
    ],
)
def test_only_the_attempt_that_is_due_begins(
    request_: Request, attempt: int, at_ms: int, begins: bool
) -> None:
    """Late, early and repeated messages are dropped; clocks that differ a little do no harm."""
    begun = jobs.begin_delivery(request_, attempt, at_ms)
    assert (begun is not None) is begins
    if begun is not None:
        assert begun.delivery.attempts == attempt + 1
        assert begun.delivery.until_ms == begun.due_ms == at_ms + jobs.DELIVERY_LIVE_MS


def test_a_deferred_attempt_is_none() -> None:
    """The receiver is busy with others of ours: the number of attempts stays."""
    deferred = jobs.defer_delivery(PENDING, NOW + 7_000, "busy")
    assert (deferred.delivery.attempts, deferred.delivery.not_before_ms) == (0, NOW + 7_000)
    assert deferred.due_ms == NOW + 37_000


@pytest.mark.parametrize(
    ("ended", "state"),
    [
        (jobs.delivered(BEGUN, NOW, "http_200"), DeliveryState.DELIVERED),
        (jobs.delivery_gone(BEGUN, NOW, "http_410", ""), DeliveryState.GONE),
        (jobs.undeliverable(BEGUN, NOW, "http_500", "oops"), DeliveryState.UNDELIVERABLE),
    ],
)
def test_an_ended_delivery_is_off_the_index(ended: Request, state: DeliveryState) -> None:
    """Delivered, gone or given up: kept two weeks, for the status and for replay."""
    assert (ended.delivery.state, ended.delivery.ended_ms, ended.delivery.until_ms) == (state, NOW, 0)
    assert (ended.due_ms, ended.expires_ms) == (None, NOW + jobs.KEPT_MS)


@pytest.mark.parametrize(
    ("request_", "ended_ms"),
    [
        (OPEN, None),
        (PENDING, None),
        (jobs.close_signed(OPEN, "signature", NOW, notify=False), NOW),
        (jobs.close_failed(replace(OPEN, webhook_url=""), 504, "too_old", NOW), NOW),
        (jobs.delivered(PENDING, NOW + 7, "http_204"), NOW + 7),
        (jobs.undeliverable(PENDING, NOW + 7, "http_500", ""), NOW + 7),
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
    assert request.calls_of(replace(RETRYING, attempts=5, call_id="call")) == 2
    assert request.calls_of(replace(RETRYING, attempts=1)) == 0
    assert request.calls_of(None) is None


@pytest.mark.parametrize(("queued", "due_ms"), [(True, NOW + 35_000), (False, NOW + 5_000)])
def test_a_failed_attempt_is_due_again(queued: bool, due_ms: int) -> None:
    """With a message on its way the index looks only in case that is lost."""
    failed = jobs.delivery_failed(BEGUN, NOW + 5_000, "http_500", "oops", queued=queued)
    assert (failed.delivery.not_before_ms, failed.delivery.until_ms) == (NOW + 5_000, 0)
    assert (failed.delivery.attempts, failed.due_ms) == (1, due_ms)


def test_a_message_that_is_sent_again_moves_its_row_on() -> None:
    """One sender wins, and the next look comes later."""
    assert jobs.resend_delivery(PENDING, NOW + 30_000).due_ms == NOW + 60_000


def test_a_replay_starts_from_the_first_attempt() -> None:
    """An operator's replay is a new delivery of the same outcome."""
    again = jobs.replay_delivery(jobs.undeliverable(BEGUN, NOW, "http_500", ""), NOW + 9)
    assert again.delivery == Delivery(DeliveryState.PENDING, not_before_ms=NOW + 9)
    assert (again.due_ms, again.expires_ms) == (NOW + 9 + jobs.RESEND_MS, None)
    assert (again.state, again.signature) == (PENDING.state, PENDING.signature)


def test_a_refusal_ends_the_outage() -> None:
    """Tried again days later, a message that then fails is retried as one that has only just failed."""
    refused = jobs.refused(_fence(NEW), 404, NOW)
    assert (refused.failing_since_ms, refused.next_try_ms) == (0, 0)
