"""What every `ports.JobStore` promises: in memory, on DynamoDB, and on DynamoDB as its emulators deviate."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from adapters.dynamodb_jobs import POINTER_KEPT_MS, DynamoJobStore
from adapters.records import encode_job
from core import job as jobs
from core import request as requests
from core.due_index import DueKind, EndedKind, IndexRow
from core.errors import Unavailable
from core.job import DAY_MS, OUTCOME_KEPT_MS, Call, Job, Refusal, Signature
from core.request import Delivery, DeliveryState, Failure, Request, Success
from core.scheduling import Due
from notifier.settings import DELAYS_S
from ports import PAGE_MAX, Conflict, JobStore, OwnKey, Page, RequestKey, Written
from tests.fakes.memory import MemoryJobStore, MemoryTable

NOW_MS = 1_800_000_000_000
WRITES = frozenset({"put_item", "delete_item", "transact_write_items"})


class WithoutItems:
    """A client of an emulator that does not return the item on which a condition failed."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(**kwargs: Any) -> Any:
            try:
                return method(**kwargs)
            except ClientError as error:
                dict.pop(error.response, "Item", None)  # type: ignore[call-overload]
                raise

        return call


class Repeating:
    """A client whose first try of every write lands without an answer: what counts is the repeat's."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(**kwargs: Any) -> Any:
            if name in WRITES:
                method(**kwargs)
            return method(**kwargs)

        return call


class RepeatingUnlessRefused(Repeating):
    """The same, where the first try may be refused."""

    def __getattr__(self, name: str) -> Any:
        repeated, method = super().__getattr__(name), getattr(self._client, name)

        def call(**kwargs: Any) -> Any:
            try:
                return repeated(**kwargs)
            except ClientError:
                return method(**kwargs)

        return call


CLIENTS: dict[str, Callable[[Any], Any]] = {
    "dynamodb": lambda client: client,
    "dynamodb without items": WithoutItems,
    "dynamodb repeating": RepeatingUnlessRefused,
}


@pytest.fixture(params=["memory", *CLIENTS])
def store(request: pytest.FixtureRequest, client: Any, table: str) -> JobStore:
    if request.param == "memory":
        return MemoryJobStore(MemoryTable())
    return DynamoJobStore(CLIENTS[request.param](client), table)


async def _stored(store: JobStore, job: Job, before: Job | None = None) -> Job:
    written = await store.write_job(before, job)
    assert isinstance(written, Written)
    return written.record


def _waiting(message: str, due_ms: int = NOW_MS) -> Job:
    return jobs.schedule(None, message, due_ms)


def _request(number: int = 1, message: str = "hello", **values: Any) -> Request:
    request = Request(
        id=f"{number:08x}-0000-7000-8000-000000000000",
        job_id=jobs.job_id(message),
        message=message,
        client="alice",
        webhook_url="https://example.com/hook",
        created_ms=NOW_MS,
        due_ms=NOW_MS + 5_000,
    )
    return replace(request, **values)


async def test_a_job_comes_back_as_it_was_written(store: JobStore) -> None:
    """Every field survives, empty ones and those of a call included; only the revision is the store's."""
    fenced = jobs.fence(_waiting("grüße \U0001f600"), "call-1", NOW_MS, call_for_ms=32_250, retry_ms=30_000)
    stored = await _stored(store, fenced)
    assert await store.job(fenced.id) == stored
    assert replace(stored, revision="") == fenced


async def test_what_was_never_written_is_not_there(store: JobStore) -> None:
    """An unknown id is None, never an error."""
    assert await store.job("0" * 64) is None
    assert await store.load("0" * 64) == (None, Page())
    assert await store.request("00000000-0000-7000-8000-000000000000") is None
    assert await store.request_of("0" * 64, "00000000-0000-7000-8000-000000000000") is None


async def test_a_new_job_is_written_once(store: JobStore) -> None:
    """Of two writers that saw no job the second is refused, and is shown what is stored."""
    stored = await _stored(store, _waiting("hello"))
    assert await store.write_job(None, jobs.new_job("hello", NOW_MS)) == Conflict(stored)
    assert await store.job(stored.id) == stored


async def test_a_stale_job_write_is_refused(store: JobStore) -> None:
    """A transition lands only on the very record that it was made from."""
    first = await _stored(store, _waiting("hello"))
    second = await _stored(store, jobs.park(first), first)
    assert await store.write_job(first, jobs.signed(first, "signature", NOW_MS)) == Conflict(second)
    assert await store.job(first.id) == second


async def test_a_write_over_a_job_that_is_gone_is_refused(store: JobStore) -> None:
    """A record that was deleted meanwhile (by TTL) is not brought back by chance."""
    gone = replace(jobs.new_job("hello", NOW_MS), revision="gone")
    assert await store.write_job(gone, jobs.park(gone)) == Conflict(None)


async def test_the_same_state_written_again_is_another_revision(store: JobStore) -> None:
    """A record that went somewhere and came back is not the one that was seen before."""
    first = await _stored(store, _waiting("hello"))
    second = await _stored(store, first, first)
    assert second.revision != first.revision
    assert isinstance(await store.write_job(first, first), Conflict)


async def test_due_jobs_are_read_on_after_a_row(store: JobStore) -> None:
    """Page by page, though several are due at one moment: none is missed, and none comes twice."""
    ids = set()
    for number in range(5):
        ids.add((await _stored(store, _waiting(f"hello {number}"))).id)
    seen, after = list[Due](), None
    while page := await store.due_jobs(DueKind.FRESH, NOW_MS + 1, 2, after):
        seen += page
        after = page[-1]
    assert {due.job_id for due in seen} >= ids
    assert len({due.job_id for due in seen}) == len(seen)


async def test_rows_that_are_due_from_some_moment_on(store: JobStore) -> None:
    """Both bounds are included, for jobs and for requests."""
    for number in range(4):
        await _stored(store, _waiting(f"hello {number}", NOW_MS + number))
        await store.accept(_request(number + 1, due_ms=NOW_MS + number))
    jobs_due = await store.due_jobs(DueKind.FRESH, NOW_MS + 2, 10, from_ms=NOW_MS + 1)
    assert [due.due_ms for due in jobs_due] == [NOW_MS + 1, NOW_MS + 2]
    requests_due = await store.due_requests(DueKind.OPEN, NOW_MS + 2, 10, from_ms=NOW_MS + 1)
    assert [key.due_ms for key in requests_due] == [NOW_MS + 1, NOW_MS + 2]
    after = await store.due_requests(DueKind.OPEN, NOW_MS + 3, 10, requests_due[0], from_ms=NOW_MS + 1)
    assert [key.due_ms for key in after] == [NOW_MS + 2, NOW_MS + 3]


async def test_an_accepted_request_is_found_by_its_id_at_once(store: JobStore) -> None:
    """The status of a 202 is strongly consistent: by its own id, and by its job."""
    request = await store.accept(_request())
    assert replace(request, revision="") == _request()
    assert await store.request(request.id) == request
    assert await store.request_of(request.job_id, request.id) == request


async def test_accepting_twice_changes_nothing(store: JobStore) -> None:
    """A repeated acceptance returns the request as it is stored, even if it has gone on meanwhile."""
    request = await store.accept(_request())
    closed = await store.write_request(request, requests.close_signed(request, "signature", NOW_MS))
    again = await store.accept(_request())
    assert isinstance(closed, Written)
    assert again == closed.record
    assert (await store.load(request.job_id))[1] == Page((again,))


class Transacting:
    """DynamoDB: cancels some transactions, and refuses a token that stood for other items."""

    def __init__(self, client: Any, *canceled_for: str) -> None:
        self._client = client
        self._canceled_for = list(canceled_for)
        self._tokens: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def transact_write_items(self, **kwargs: Any) -> Any:
        token = kwargs.get("ClientRequestToken", uuid4().hex)
        if self._tokens.setdefault(token, kwargs) != kwargs:
            raise _refused("IdempotentParameterMismatchException")
        if self._canceled_for:
            raise _refused("TransactionCanceledException", self._canceled_for.pop())
        return self._client.transact_write_items(**kwargs)


def _refused(code: str, reason: str = "") -> ClientError:
    answer: Any = {"Error": {"Code": code}, "CancellationReasons": [{"Code": reason}, {"Code": "None"}]}
    return ClientError(answer, "TransactWriteItems")


async def test_an_acceptance_asked_for_again_is_the_one_that_is_stored(client: Any, table: str) -> None:
    """After a lost answer the same id comes with another time: that is no fault."""
    store = DynamoJobStore(Transacting(client), table)
    request = await store.accept(_request())
    assert await store.accept(_request(due_ms=NOW_MS + 9_000)) == request


@pytest.mark.parametrize("reason", ["TransactionConflict", "ThrottlingError"])
async def test_an_acceptance_that_was_cancelled_for_a_moment_is_tried_again(
    client: Any, table: str, reason: str
) -> None:
    """It is what a 202 rests on. What stays refused ends as `Unavailable`."""
    assert await DynamoJobStore(Transacting(client, reason), table).accept(_request())
    with pytest.raises(Unavailable):
        await DynamoJobStore(Transacting(client, *[reason] * 3), table).accept(_request(2))
    with pytest.raises(Unavailable):
        await DynamoJobStore(Transacting(client, "ValidationError"), table).accept(_request(3))


async def test_a_request_keeps_its_delivery(store: JobStore) -> None:
    """Outcome and delivery survive as they were written."""
    request = await store.accept(_request())
    delivery = Delivery(DeliveryState.UNDELIVERABLE, 7, 0, NOW_MS, "http_500", "oops", NOW_MS + 9)
    failed = replace(
        request,
        outcome=Failure(504, "too_old"),
        closed_ms=NOW_MS + 1,
        delivery=delivery,
        calls=0,
        due_ms=None,
    )
    written = await store.write_request(request, failed)
    assert isinstance(written, Written)
    assert await store.request(request.id) == replace(failed, revision=written.record.revision)


async def test_a_request_may_name_no_webhook(store: JobStore) -> None:
    """Whoever polls for the result names none, and the request is found all the same."""
    written = await store.accept(_request(webhook_url=""))
    assert written.webhook_url == ""
    assert await store.request(written.id) == written
    assert (await store.load(written.job_id))[1] == Page((written,))


async def test_a_stale_request_write_is_refused(store: JobStore) -> None:
    """A request has one outcome: whoever comes second is shown the first."""
    request = await store.accept(_request())
    first = await store.write_request(request, requests.close_signed(request, "signature", NOW_MS))
    second = await store.write_request(request, requests.close_failed(request, 504, "too_old", NOW_MS))
    assert isinstance(first, Written)
    assert second == Conflict(first.record)


async def test_a_request_that_was_never_accepted_is_not_written(store: JobStore) -> None:
    """Only an acceptance makes a request."""
    request = replace(_request(), revision="none")
    assert await store.write_request(request, requests.close_signed(request, "", NOW_MS)) == Conflict(None)
    assert await store.request(request.id) is None


async def test_a_job_is_loaded_with_its_own_requests_oldest_first(store: JobStore) -> None:
    """One consistent read shows a job and whoever waits for it; ids are in the order of time."""
    job = await _stored(store, _waiting("hello"))
    accepted = [await store.accept(_request(number)) for number in (3, 1, 2)]
    await store.accept(_request(4, "other"))
    in_order = tuple(sorted(accepted, key=lambda request: request.id))
    assert await store.load(job.id) == (job, Page(in_order))


async def test_requests_are_loaded_without_a_job(store: JobStore) -> None:
    """A job may be gone while somebody waits for it."""
    request = await store.accept(_request())
    assert await store.load(request.job_id) == (None, Page((request,)))


async def test_all_of_many_requests_are_loaded(store: JobStore) -> None:
    """More than a megabyte is more than one page of DynamoDB's."""
    long = "x" * 60_000
    accepted = [await store.accept(_request(number, long)) for number in range(20)]
    _, page = await store.load(jobs.job_id(long))
    found = [*page.requests]
    while page.next_id:
        page = await store.page(jobs.job_id(long), page.next_id)
        found += page.requests
    assert found == accepted


async def test_history_is_not_read(store: JobStore) -> None:
    """A job's requests are read from its oldest open one on, a page at a time, whatever came before."""
    accepted = [await store.accept(_request(number)) for number in range(2 * PAGE_MAX + 1)]
    everything = await _stored(store, _waiting("hello"))
    job, page = await store.load(everything.id)
    assert (job, [*page.requests]) == (everything, accepted[:PAGE_MAX])
    recent = await _stored(store, replace(everything, open_from=accepted[-3].id), everything)
    assert await store.load(recent.id) == (recent, Page(tuple(accepted[-3:])))


async def test_the_due_index_shows_jobs_by_kind_in_order(store: JobStore) -> None:
    """Fresh jobs and retries stand apart, each in the order of their time, up to now and to the limit."""
    for number, due_ms in enumerate((NOW_MS + 2, NOW_MS, NOW_MS + 1, NOW_MS + 3)):
        await _stored(store, _waiting(f"fresh {number}", due_ms))
    retry = replace(_waiting("retry"), attempts=1, oldest_ms=NOW_MS - 7)
    await _stored(store, retry)
    fresh = await store.due_jobs(DueKind.FRESH, NOW_MS + 2, 10)
    assert [due.due_ms for due in fresh] == [NOW_MS, NOW_MS + 1, NOW_MS + 2]
    assert await store.due_jobs(DueKind.FRESH, NOW_MS + 9, 2) == fresh[:2]
    assert await store.due_jobs(DueKind.RETRY, NOW_MS, 10) == [Due(retry.id, NOW_MS, NOW_MS - 7)]


async def test_a_job_leaves_the_due_index_with_its_time(store: JobStore) -> None:
    """A job that is parked, signed or called by nobody is not on the index."""
    job = await _stored(store, _waiting("hello"))
    await _stored(store, jobs.park(job), job)
    assert await store.due_jobs(DueKind.FRESH, NOW_MS + 1, 10) == []
    assert await store.due_jobs(DueKind.RETRY, NOW_MS + 1, 10) == []


async def test_the_due_index_shows_unfinished_requests_by_kind(store: JobStore) -> None:
    """An open request is to be looked at, a closed one with a webhook delivered, a delivered one neither."""
    first, second = [await store.accept(_request(number)) for number in (1, 2)]
    keys = [RequestKey(first.job_id, request.id, NOW_MS + 5_000) for request in (first, second)]
    assert await store.due_requests(DueKind.OPEN, NOW_MS + 4_999, 10) == []
    assert sorted(await store.due_requests(DueKind.OPEN, NOW_MS + 5_000, 10), key=str) == keys
    closed = await store.write_request(first, requests.close_signed(first, "signature", NOW_MS))
    assert isinstance(closed, Written)
    assert await store.due_requests(DueKind.OPEN, NOW_MS + 60_000, 10) == keys[1:]
    due = await store.due_requests(DueKind.DELIVERY, NOW_MS + 60_000, 10)
    assert due == [RequestKey(first.job_id, first.id, NOW_MS + requests.RESEND_MS)]
    await store.write_request(closed.record, requests.delivered(closed.record, NOW_MS, "http_200"))
    assert await store.due_requests(DueKind.DELIVERY, NOW_MS + 60_000, 10) == []


async def _ended(store: JobStore, number: int, at_ms: int, **values: Any) -> Request:
    """Store a request whose webhook was delivered then, or that ended as `values` say."""
    request = await store.accept(_request(number))
    closed = requests.close_signed(request, "signature", NOW_MS, calls=1)
    delivered = replace(requests.delivered(closed, at_ms, "http_204"), **values)
    written = await store.write_request(request, delivered)
    assert isinstance(written, Written)
    return written.record


async def test_what_has_ended_is_found_newest_first(store: JobStore) -> None:
    """By its last end: a signature that nobody is told of by its own, else when its webhook was delivered."""
    first, second = await _ended(store, 1, NOW_MS + 9), await _ended(store, 2, NOW_MS + 7)
    silent = await _ended(store, 3, NOW_MS, delivery=Delivery(), closed_ms=NOW_MS + 8)
    keys = [
        RequestKey(request.job_id, request.id, at_ms)
        for request, at_ms in ((first, NOW_MS + 9), (silent, NOW_MS + 8), (second, NOW_MS + 7))
    ]
    assert await store.ended(EndedKind.DONE, 10) == keys
    assert await store.ended(EndedKind.DONE, 2) == keys[:2]
    assert await store.ended(EndedKind.UNDELIVERABLE, 10) == []


async def test_what_has_ended_is_not_due(store: JobStore) -> None:
    """It stands on the index to be seen, never to be looked at; its record says that nothing is due."""
    ended = await _ended(store, 1, NOW_MS)
    assert (await store.request(ended.id), ended.due_ms) == (ended, None)
    for kind in (DueKind.OPEN, DueKind.DELIVERY):
        assert await store.due_requests(kind, NOW_MS * 2, 10) == []


async def test_what_is_unfinished_has_not_ended(store: JobStore) -> None:
    """Neither an open request, nor one whose webhook is still to be delivered."""
    await store.accept(_request(1))
    request = await store.accept(_request(2))
    await store.write_request(request, requests.close_signed(request, "signature", NOW_MS))
    for kind in EndedKind:
        assert await store.ended(kind, 10) == []


@pytest.mark.parametrize("end", [requests.undeliverable, requests.delivery_gone])
async def test_a_webhook_that_was_given_up_stands_apart_until_it_is_replayed(
    store: JobStore, end: Callable[[Request, int, str, str], Request]
) -> None:
    """However many have ended since, it is found; a replay makes it due again."""
    request = await store.accept(_request())
    closed = requests.close_signed(request, "signature", NOW_MS)
    given_up = await store.write_request(request, end(closed, NOW_MS + 5, "http_500", "oops"))
    assert isinstance(given_up, Written)
    key = RequestKey(request.job_id, request.id, NOW_MS + 5)
    assert await store.ended(EndedKind.UNDELIVERABLE, 10) == [key]
    assert await store.ended(EndedKind.DONE, 10) == []
    replayed = requests.replay_delivery(given_up.record, NOW_MS + 9)
    await store.write_request(given_up.record, replayed)
    assert await store.ended(EndedKind.UNDELIVERABLE, 10) == []
    due_ms = NOW_MS + 9 + requests.RESEND_MS
    assert await store.due_requests(DueKind.DELIVERY, due_ms, 10) == [replace(key, due_ms=due_ms)]


KEY = {"PK": {"S": f"JOB#{jobs.job_id('hello')}"}}
OLD_JOB = {
    **KEY,
    "SK": {"S": "JOB"},
    "id": {"S": jobs.job_id("hello")},
    "message": {"S": "hello"},
    "created_ms": {"N": "1800000000000"},
    "revision": {"S": "0123456789abcdef"},
    "oldest_ms": {"N": "1800000000001"},
}
OLD_JOBS = {
    "retrying": (
        {
            **OLD_JOB,
            "state": {"S": "retrying"},
            "attempts": {"N": "2"},
            "call_id": {"S": "call"},
            "call_until_ms": {"N": "1800000012250"},
            "next_try_ms": {"N": "1800000030000"},
            "failing_since_ms": {"N": "1799999990000"},
            "due_ms": {"N": "1800000030000"},
            "due_kind": {"S": "retry"},
            "signed_at_ms": {"N": "0"},
            "refusal": {"N": "0"},
            "refused_at_ms": {"N": "0"},
        },
        Job(
            jobs.job_id("hello"),
            "hello",
            NOW_MS,
            attempts=2,
            next_try_ms=NOW_MS + 30_000,
            call=Call("call", NOW_MS + 12_250),
            failing_since_ms=NOW_MS - 10_000,
            due_ms=NOW_MS + 30_000,
            oldest_ms=NOW_MS + 1,
            revision="0123456789abcdef",
        ),
    ),
    "signed": (
        {
            **OLD_JOB,
            "state": {"S": "signed"},
            "attempts": {"N": "1"},
            "call_until_ms": {"N": "0"},
            "next_try_ms": {"N": "0"},
            "failing_since_ms": {"N": "0"},
            "signature": {"S": "c2ln"},
            "signed_at_ms": {"N": "1800000000500"},
            "refusal": {"N": "0"},
            "refused_at_ms": {"N": "0"},
            "expires_ms": {"N": "1801209600500"},
            "expires_s": {"N": "1801209600"},
        },
        Job(
            jobs.job_id("hello"),
            "hello",
            NOW_MS,
            attempts=1,
            outcome=Signature("c2ln", NOW_MS + 500),
            oldest_ms=NOW_MS + 1,
            revision="0123456789abcdef",
        ),
    ),
    "refused": (
        {
            **OLD_JOB,
            "state": {"S": "refused"},
            "attempts": {"N": "1"},
            "signed_at_ms": {"N": "0"},
            "refusal": {"N": "404"},
            "refused_at_ms": {"N": "1800000000500"},
        },
        Job(
            jobs.job_id("hello"),
            "hello",
            NOW_MS,
            attempts=1,
            outcome=Refusal(404, NOW_MS + 500),
            oldest_ms=NOW_MS + 1,
            revision="0123456789abcdef",
        ),
    ),
}
OLD_REQUEST = {
    **KEY,
    "SK": {"S": "REQ#0190-1"},
    "id": {"S": "0190-1"},
    "job_id": {"S": jobs.job_id("hello")},
    "message": {"S": "hello"},
    "client": {"S": "alice"},
    "webhook_url": {"S": "https://example.com/"},
    "created_ms": {"N": "1800000000000"},
    "attempts_before": {"N": "0"},
    "key_blocked_ms": {"N": "0"},
    "estimated_ms": {"N": "0"},
    "failure_status": {"N": "0"},
    "closed_ms": {"N": "0"},
    "delivery_state": {"S": "none"},
    "delivery_attempts": {"N": "0"},
    "delivery_until_ms": {"N": "0"},
    "delivery_not_before_ms": {"N": "0"},
    "delivery_ended_ms": {"N": "0"},
    "revision": {"S": "0123456789abcdef"},
}
A_REQUEST = Request(
    "0190-1",
    jobs.job_id("hello"),
    "hello",
    "alice",
    "https://example.com/",
    NOW_MS,
    revision="0123456789abcdef",
)
ENDED = {"closed_ms": {"N": "1800000000500"}, "delivery_ended_ms": {"N": "1800000000900"}}
OLD_REQUESTS = {
    "open": (
        {**OLD_REQUEST, "state": {"S": "open"}, "due_kind": {"S": "open"}, "due_ms": {"N": "1800000005000"}},
        replace(A_REQUEST, due_ms=NOW_MS + 5_000),
    ),
    "failed, delivered": (
        {
            **OLD_REQUEST,
            **ENDED,
            "state": {"S": "failed"},
            "failure_status": {"N": "504"},
            "failure_reason": {"S": "too_old"},
            "calls": {"N": "7"},
            "delivery_state": {"S": "delivered"},
            "delivery_attempts": {"N": "1"},
            "delivery_reason": {"S": "http_204"},
            "due_kind": {"S": "done"},
            "due_ms": {"N": "1800000000900"},
            "expires_ms": {"N": "1801209600900"},
            "expires_s": {"N": "1801209600"},
        },
        replace(
            A_REQUEST,
            outcome=Failure(504, "too_old"),
            closed_ms=NOW_MS + 500,
            calls=7,
            delivery=Delivery(DeliveryState.DELIVERED, 1, reason="http_204", ended_ms=NOW_MS + 900),
        ),
    ),
    "signed, before its calls and its end were recorded": (
        {
            **OLD_REQUEST,
            "state": {"S": "signed"},
            "signature": {"S": "c2ln"},
            "closed_ms": {"N": "1800000000500"},
            "delivery_state": {"S": "pending"},
            "due_kind": {"S": "delivery"},
            "due_ms": {"N": "1800000030500"},
        },
        replace(
            A_REQUEST,
            outcome=Success("c2ln"),
            closed_ms=NOW_MS + 500,
            delivery=Delivery(DeliveryState.PENDING),
            due_ms=NOW_MS + 30_500,
        ),
    ),
}


@pytest.mark.parametrize("name", OLD_JOBS)
async def test_a_job_that_the_first_version_stored_is_read(client: Any, table: str, name: str) -> None:
    """A deployment finds the records of the one before it."""
    item, job = OLD_JOBS[name]
    client.put_item(TableName=table, Item=item)
    assert await DynamoJobStore(client, table).job(job.id) == job


@pytest.mark.parametrize("name", OLD_REQUESTS)
async def test_a_request_that_the_first_version_stored_is_read(client: Any, table: str, name: str) -> None:
    """A deployment finds the records of the one before it."""
    item, request = OLD_REQUESTS[name]
    client.put_item(TableName=table, Item=item)
    found = await DynamoJobStore(client, table).request_of(request.job_id, request.id)
    assert found == request


async def test_an_attribute_of_a_newer_version_survives_a_write(client: Any, table: str) -> None:
    """While two versions run side by side, neither drops what only the other one knows."""
    store, newer = DynamoJobStore(client, table), {"region": {"S": "eu"}, "parts": {"L": [{"N": "1"}]}}
    job, request = await _stored(store, _waiting("hello")), await store.accept(_request())
    for row in client.scan(TableName=table)["Items"]:
        client.put_item(TableName=table, Item={**row, **newer})
    seen_job, page = await store.load(job.id)
    assert seen_job
    (seen,) = page.requests
    await store.write_job(seen_job, jobs.signed(seen_job, "signature", NOW_MS))
    await store.write_request(seen, requests.close_signed(seen, "signature", NOW_MS))
    rows = [row for row in client.scan(TableName=table)["Items"] if row["PK"]["S"] == f"JOB#{job.id}"]
    assert len(rows) == 2
    assert all(newer.items() <= row.items() and row["signature"] == {"S": "signature"} for row in rows)
    assert (await store.request(request.id)) is not None


async def test_a_record_of_a_newer_version_costs_only_itself(client: Any, table: str) -> None:
    """What can't be read is left as it is, and the others of its message are found."""
    store = DynamoJobStore(client, table)
    first, second = await store.accept(_request(1)), await store.accept(_request(2))
    (row,) = [row for row in client.scan(TableName=table)["Items"] if row["SK"]["S"] == f"REQ#{first.id}"]
    newer = {**row, "state": {"S": "cancelled"}}
    client.put_item(TableName=table, Item=newer)
    assert (await store.load(first.job_id))[1] == Page((second,))
    with pytest.raises(Unavailable):
        await store.request(first.id)
    assert newer in client.scan(TableName=table)["Items"]


async def test_a_damaged_row_of_the_index_hides_no_other(client: Any, table: str) -> None:
    """Its age is not known; the rows beside it are read."""
    store = DynamoJobStore(client, table)
    damaged, healthy = await _stored(store, _waiting("damaged")), await _stored(store, _waiting("healthy"))
    client.put_item(TableName=table, Item={**encode_job(damaged), "oldest_ms": {"S": "damaged"}})
    due = await store.due_jobs(DueKind.FRESH, NOW_MS, 10, client=damaged.client)
    assert {row.job_id for row in due} == {damaged.id, healthy.id}


async def test_fresh_jobs_stand_apart_by_caller(store: JobStore) -> None:
    """Each caller's in their order; a job that says no caller, an older version's, stands by itself."""
    for number in range(3):
        await _stored(store, replace(_waiting(f"fresh {number}", NOW_MS + number), client="alice"))
    await _stored(store, replace(_waiting("another's", NOW_MS), client="bob"))
    await _stored(store, _waiting("nobody's", NOW_MS))
    rows = await store.due_jobs(DueKind.FRESH, NOW_MS + 9, 10, client="alice")
    assert [(row.due_ms, row.client) for row in rows] == [(NOW_MS + number, "alice") for number in range(3)]
    assert len(await store.due_jobs(DueKind.FRESH, NOW_MS + 9, 10, client="bob")) == 1
    assert len(await store.due_jobs(DueKind.FRESH, NOW_MS + 9, 10)) == 1
    last = IndexRow(DueKind.FRESH, NOW_MS + 2, "alice")
    assert await store.count_before(last, 10) == 2
    assert await store.count_before(last, 1) == 1
    assert await store.count_before(replace(last, kind=DueKind.RETRY, client=""), 10) == 0


async def test_retries_stand_apart_by_caller(store: JobStore) -> None:
    """So that one caller's many retries hide nobody else's."""
    for number in range(3):
        await _stored(store, replace(_waiting(f"retry {number}", NOW_MS), client="alice", attempts=1))
    another = await _stored(store, replace(_waiting("another's", NOW_MS), client="bob", attempts=2))
    assert len(await store.due_jobs(DueKind.RETRY, NOW_MS, 10, client="alice")) == 3
    (row,) = await store.due_jobs(DueKind.RETRY, NOW_MS, 10, client="bob")
    assert (row.job_id, row.client) == (another.id, "bob")
    assert await store.due_jobs(DueKind.RETRY, NOW_MS, 10) == []


async def test_a_request_is_accepted_and_its_job_scheduled_at_once(store: JobStore) -> None:
    """Both are stored as they come back; the job only if it is still as it was seen."""
    job = _waiting("hello")
    request, written = await store.accept_and_schedule(_request(), None, job)
    assert written == await store.job(job.id)
    assert written == replace(job, revision=written.revision) if written else False
    assert await store.request(request.id) == request
    again, kept = await store.accept_and_schedule(_request(2), written, replace(job, attempts=1))
    assert kept == await store.job(job.id)
    assert await store.request(again.id) == again


async def test_a_write_that_meets_a_transaction_is_a_conflict(client: Any, table: str) -> None:
    """What is stored comes back, and the write is decided on again; it is no outage."""

    class Busy:
        def __getattr__(self, name: str) -> Any:
            return getattr(client, name)

        def put_item(self, **_: Any) -> Any:
            raise _refused("TransactionConflictException")

    stored = await _stored(DynamoJobStore(client, table), _waiting("hello"))
    result = await DynamoJobStore(Busy(), table).write_job(stored, replace(stored, attempts=1))
    assert result == Conflict(stored)


async def test_a_request_is_accepted_whatever_became_of_its_job(store: JobStore) -> None:
    """If the job has changed meanwhile, only the request is stored; a repeated request changes nothing."""
    stored = await _stored(store, _waiting("hello"))
    request, written = await store.accept_and_schedule(_request(), None, replace(stored, attempts=7))
    assert written is None
    assert await store.job(stored.id) == stored
    repeated = await store.accept_and_schedule(_request(), stored, replace(stored, attempts=7))
    assert repeated == (request, None)
    assert await store.job(stored.id) == stored


async def test_who_waits_for_a_message_is_counted(store: JobStore) -> None:
    """From one request on, and no further than the limit."""
    accepted = [await store.accept(_request(number)) for number in range(3)]
    assert await store.count_requests(accepted[0].job_id, "", 10) == 3
    assert await store.count_requests(accepted[0].job_id, accepted[1].id, 10) == 2
    assert await store.count_requests(accepted[0].job_id, "", 2) == 2


async def test_a_write_that_landed_unheard_is_known_again(client: Any, table: str) -> None:
    """The SDK repeats a write whose answer was lost: the refused repeat finds our own record."""
    store = DynamoJobStore(Repeating(client), table)
    request = await store.accept(_request())
    assert await store.request(request.id) == request
    closed = await store.write_request(request, requests.close_signed(request, "signature", NOW_MS))
    assert closed == Written(await store.request(request.id))


async def test_a_database_that_is_down_is_unavailable(client: Any) -> None:
    """Every failure of the database is the one error that says that the fate of a write is unknown."""
    store = DynamoJobStore(client, "no-such-table")
    with pytest.raises(Unavailable):
        await store.job("0" * 64)
    with pytest.raises(Unavailable):
        await store.accept(_request())
    with pytest.raises(Unavailable):
        await store.write_job(None, _waiting("hello"))


async def test_what_may_go_has_a_time_to_live_in_whole_seconds(client: Any, table: str) -> None:
    """TTL sweeps closed records only: the attribute is there if, and only if, the record expires."""
    store = DynamoJobStore(client, table)
    job = await _stored(store, _waiting("hello"))
    await _stored(store, jobs.park(job), job)
    await store.accept(_request(message="other"))
    items = client.scan(TableName=table)["Items"]
    rows = {row["PK"]["S"][:4] + row["SK"]["S"][:3]: row for row in items}
    assert rows["JOB#JOB"]["expires_s"] == {"N": str((NOW_MS + jobs.IDLE_KEPT_MS) // 1000)}
    assert "expires_s" not in rows["JOB#REQ"]
    assert "expires_s" in rows["REQ#REQ"]


def test_a_pointer_outlives_its_request() -> None:
    """However old a request gets, through a whole schedule and a replay on its last day, its id is found."""
    age_max_ms = 14 * DAY_MS
    schedule_ms = sum(float(delay_s) * 1000 for delay_s in DELAYS_S.split(","))
    assert age_max_ms + 2 * (schedule_ms + OUTCOME_KEPT_MS) < POINTER_KEPT_MS


async def test_a_caller_s_requests_are_listed_newest_first(store: JobStore) -> None:
    """By pages, also of requests that were accepted in the same millisecond; nobody else's."""
    ids = [f"00000000-0000-7000-8000-00000000000{number}" for number in range(5)]
    for number, request_id in enumerate(ids):
        created_ms = NOW_MS + max(1, number)  # the first two at once
        await store.accept(_request(id=request_id, client="lister", created_ms=created_ms))
    await store.accept(_request(id="00000000-0000-7000-8000-000000000009", client="another"))
    found: list[OwnKey] = []
    while page := await store.own("lister", 2, found[-1] if found else None):
        found += page
    assert [key.request_id for key in found[:3]] == ids[:1:-1]
    assert {key.request_id for key in found[3:]} == {*ids[:2]}
    assert [key.created_ms for key in found] == [NOW_MS + 4, NOW_MS + 3, NOW_MS + 2, NOW_MS + 1, NOW_MS + 1]
