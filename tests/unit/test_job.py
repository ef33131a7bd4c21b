"""Every transition of a job, by exact numbers."""

from dataclasses import replace

import pytest

from core import job as jobs
from core.job import Call, Job, JobState, Refusal, Signature, Waiter

NOW = 1_800_000_000_000
WAITER = Waiter("0190-1", "alice")
WAITING = jobs.schedule(None, "hello", NOW, WAITER)
RETRYING = replace(WAITING, attempts=2, next_try_ms=NOW + 30_000, due_ms=NOW + 30_000)
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
        (WAITING, JobState.WAITING, NOW + 30_000, None),
        (RETRYING, JobState.RETRYING, NOW + 30_000, None),
        (SIGNED, JobState.IDLE, None, NOW + 30_000 + jobs.IDLE_KEPT_MS),
    ],
)
def test_a_fence_holds_until_its_call_must_have_ended(
    before: Job, state: JobState, due_ms: int | None, expires_ms: int | None
) -> None:
    """It does not count before it is recorded; if it never is, the next call is a retry distance away."""
    fenced = _fence(before)
    assert (fenced.state, fenced.due_ms, fenced.expires_ms) == (state, due_ms, expires_ms)
    assert fenced.call == Call("call", NOW + 12_250)
    assert (fenced.attempts, fenced.next_try_ms) == (before.attempts, NOW + 30_000)
    assert fenced.outcome is None
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
        (_fence(NEW), JobState.WAITING, NOW + 30_000),
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
        (None, False, NEW),
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
    assert jobs.without_call(fenced, before, NOW, WAITER if wanted else None) == after


def test_a_fence_taken_back_does_not_forget_who_came_meanwhile() -> None:
    """Whoever attached while the fence stood made the job scheduled, and it stays so."""
    attached = jobs.schedule(_fence(NEW), "hello", NOW)
    assert jobs.without_call(attached, None, NOW).scheduled


def test_a_signature_ends_the_call_and_the_outage() -> None:
    """Whoever brings it: the job is off the index and kept for two weeks."""
    signed = jobs.signed(_fence(RETRYING), "signature", NOW)
    assert (signed.state, signed.outcome) == (JobState.SIGNED, Signature("signature", NOW))
    assert (signed.call, signed.due_ms, signed.failing_since_ms) == (None, None, None)
    assert signed.expires_ms == NOW + jobs.OUTCOME_KEPT_MS


@pytest.mark.parametrize(("at_ms", "shown"), [(NOW + 999, "signature"), (NOW + 1_000, "")])
def test_a_signature_answers_new_callers_only_while_it_is_fresh(at_ms: int, shown: str) -> None:
    """The time to live is about new callers; those who wait get it whenever it came."""
    assert SIGNED.fresh_signature(at_ms, 1_000) == shown


def test_a_refusal_is_for_good() -> None:
    """It ends the call and says with which status the upstream refused."""
    refused = jobs.refused(_fence(RETRYING), 422, NOW)
    assert (refused.state, refused.outcome, refused.call) == (JobState.REFUSED, Refusal(422, NOW), None)
    assert (refused.due_ms, refused.expires_ms) == (None, NOW + jobs.OUTCOME_KEPT_MS)


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
    failed = jobs.failed(
        _fence(before), NOW, NOW + 40_000, counted=counted, waiter=WAITER if wanted else None
    )
    assert (failed.state, failed.attempts, failed.due_ms) == (state, attempts, due_ms)
    assert (failed.call, failed.next_try_ms) == (None, NOW + 40_000)
    assert (failed.expires_ms is None) is failed.scheduled


def test_a_refusal_ends_the_outage() -> None:
    """Tried again days later, a message that then fails is retried as one that has only just failed."""
    refused = jobs.refused(_fence(NEW), 404, NOW)
    assert (refused.failing_since_ms, refused.next_try_ms) == (None, 0)


def test_a_job_stands_in_the_queue_of_the_caller_whose_turn_comes_first() -> None:
    """Another caller's request moves a job, called before or not, only if its own queue is shorter."""
    later, sooner = Waiter("0190-2", "bob"), Waiter("0190-2", "bob", sooner=True)
    assert jobs.schedule(WAITING, "hello", NOW, later) is WAITING
    moved = jobs.schedule(WAITING, "hello", NOW, sooner)
    assert (moved.client, moved.open_from) == ("bob", "0190-1")
    assert (jobs.entered(WAITING, moved), jobs.entered(WAITING, WAITING)) == ("bob", None)
    assert jobs.entered(None, WAITING) == "alice"
    assert jobs.entered(WAITING, RETRYING) is None
    assert jobs.schedule(RETRYING, "hello", NOW, later) is RETRYING
    assert jobs.schedule(RETRYING, "hello", NOW, sooner).client == "bob"


def test_a_retry_goes_back_to_the_shortest_queue() -> None:
    """A caller can't keep another's message in its own queue and put a thousand others there."""
    counts = {"alice": 2, "trudy": 1_000}
    held = replace(RETRYING, client="trudy")
    assert jobs.in_shortest_queue(held, {"alice", "trudy"}, counts).client == "alice"
    assert jobs.in_shortest_queue(held, {"trudy", "uncounted"}, counts) is held
    assert jobs.in_shortest_queue(held, (), counts) is held
    assert jobs.in_shortest_queue(WAITING, {"bob"}, {}) is WAITING


def test_a_job_finds_an_open_request_that_is_older_than_those_before() -> None:
    """Ids of two hosts may come out of order: what a call reads begins with the smallest."""
    assert jobs.schedule(WAITING, "hello", NOW, Waiter("0190-0", "alice")).open_from == "0190-0"
