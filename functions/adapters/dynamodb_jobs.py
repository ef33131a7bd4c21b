"""Jobs and requests in one DynamoDB table.

    PK=JOB#<job id>      SK=JOB               the job
    PK=JOB#<job id>      SK=REQ#<request id>  a request: the truth
    PK=REQ#<request id>  SK=REQ               an immutable pointer to it, in its caller's partition

The sparse index `due` (hash `due_kind`, range `due_ms`) holds every record that has a due time. In partitions
of their own it also holds the requests that are done, by their end, until TTL deletes them.
Every write replaces a whole item on condition that its `revision` is the one that was read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from adapters.aws import in_thread
from adapters.dynamodb_table import ABSENT, UNCHANGED, DynamoTable, new_revision
from adapters.items import Item
from adapters.records import (
    decode_job,
    decode_request,
    encode_job,
    encode_request,
    job_key,
    request_key,
)
from core.due_index import DueKind, EndedKind, IndexRow, own_partition, partition
from core.errors import Unavailable
from core.job import DAY_MS, Job
from core.request import Request, RequestState
from core.scheduling import Due
from ports import FOREVER_MS, PAGE_MAX, Conflict, OwnKey, Page, RequestKey, Written

INDEX = "due"
AFTER = "!"
"""An id with this suffix sorts after the id, and before every greater id."""
POINTER_KEPT_MS = 400 * DAY_MS
"""Longer than its request is stored: 14 days after its end, which each replay of its webhook delays."""
TRANSACTION_CANCELED = frozenset({"TransactionCanceledException"})
TRANSIENT = frozenset({"None", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})
UNKNOWN = frozenset({""})
ACCEPT_TRIES = 3


class DynamoJobStore(DynamoTable):
    """A `ports.JobStore` on a boto3 DynamoDB client."""

    async def job(self, job_id: str) -> Job | None:
        """Return the job."""
        item = await self._get(job_key(job_id))
        return decode_job(item) if item else None

    async def load(self, job_id: str) -> tuple[Job | None, Page]:
        """Return the job and the first page of the requests that may be open.

        One query where that page is the first one of all, as it is for a message without much history.
        """
        rows, more = await self._rows(job_id, "JOB", PAGE_MAX + 1)
        job = decode_job(rows.pop(0)) if rows and rows[0]["SK"]["S"] == "JOB" else None
        if job and more and (not rows or _request_sk(job.open_from) > rows[-1]["SK"]["S"]):
            return job, await self.page(job_id, job.open_from)
        return job, _page(rows, more=more)

    async def page(self, job_id: str, first_id: str) -> Page:
        """Return a page of a job's requests."""
        rows, more = await self._rows(job_id, _request_sk(first_id), PAGE_MAX)
        return _page(rows, more=more)

    async def _rows(self, job_id: str, first_sk: str, limit: int) -> tuple[list[Item], bool]:
        """Return items of a job's collection, and whether more follow."""
        answer = await in_thread(
            self._client.query,
            TableName=self._table,
            KeyConditionExpression="PK = :pk AND SK >= :first",
            ExpressionAttributeValues={":pk": {"S": f"JOB#{job_id}"}, ":first": {"S": first_sk}},
            ConsistentRead=True,
            Limit=limit,
        )
        return list(answer["Items"]), "LastEvaluatedKey" in answer

    async def write_job(self, before: Job | None, after: Job) -> Written[Job] | Conflict[Job]:
        """Write a job if the stored one is still `before`."""
        after = replace(after, revision=new_revision())
        current = await self._put_next(encode_job(after), before.revision if before else "")
        if current is None:
            return Written(after)
        job = decode_job(current) if current else await self.job(after.id)
        return Written(after) if job and job.revision == after.revision else Conflict(job)

    async def accept(self, request: Request) -> Request:
        """Store a new request and its pointer in one transaction; try again if a conflict cancels it."""
        request = replace(request, revision=new_revision())
        for _ in range(ACCEPT_TRIES):
            reasons = await self._put_all(self._new(request))
            if not reasons:
                return request
            # If the SDK repeats a transaction that was already written, its condition fails.
            if stored := await self.request_of(request.job_id, request.id):
                return stored
            if not reasons <= TRANSIENT:
                break
        raise Unavailable("TransactWriteItems: canceled")

    async def accept_and_schedule(
        self, request: Request, before: Job | None, after: Job
    ) -> tuple[Request, Job | None]:
        """Store a new request and write its job in one transaction; if it is cancelled, the request alone."""
        request, after = (
            replace(request, revision=new_revision()),
            replace(after, revision=new_revision()),
        )
        unchanged = self._put_request(encode_job(after), before.revision if before else "")
        if not await self._put_all([*self._new(request), unchanged]):
            return request, after
        # If the SDK repeats a transaction that was already written, its condition fails.
        stored = await self.accept(request)
        return stored, after if stored.revision == request.revision else None

    def _new(self, request: Request) -> list[dict[str, Any]]:
        return [self._put_request(row) for row in (encode_request(request), _pointer(request))]

    def _put_request(self, item: Item, revision: str = "") -> dict[str, Any]:
        """Return the put of an item, if the stored one has this revision; if empty, if there is none."""
        condition: dict[str, Any] = {"ConditionExpression": ABSENT}
        if revision:
            values = {":revision": {"S": revision}}
            condition = {"ConditionExpression": UNCHANGED, "ExpressionAttributeValues": values}
        return {"Put": {"TableName": self._table, "Item": item, **condition}}

    async def _put_all(self, puts: Sequence[Mapping[str, Any]]) -> frozenset[str]:
        """Put items, all or none; return why they were not put.

        The SDK makes a client token for each call. A fixed token would be refused with other items.
        """
        try:
            await in_thread(
                self._client.transact_write_items, keep=TRANSACTION_CANCELED, TransactItems=list(puts)
            )
        except ClientError as error:
            reasons: Any = error.response.get("CancellationReasons", [])
            return frozenset(reason.get("Code", "") for reason in reasons) or UNKNOWN
        return frozenset()

    async def request(self, request_id: str) -> Request | None:
        """Return a request by its id alone."""
        pointer = await self._get(_pointer_key(request_id))
        return await self.request_of(pointer["job_id"]["S"], request_id) if pointer else None

    async def request_of(self, job_id: str, request_id: str) -> Request | None:
        """Return a request of a known job."""
        item = await self._get(request_key(job_id, request_id))
        return decode_request(item) if item else None

    async def write_request(self, before: Request, after: Request) -> Written[Request] | Conflict[Request]:
        """Write a request if the stored one is still `before`."""
        after = replace(after, revision=new_revision())
        current = await self._put_next(encode_request(after), before.revision)
        if current is None:
            return Written(after)
        request = decode_request(current) if current else await self.request_of(after.job_id, after.id)
        return Written(after) if request and request.revision == after.revision else Conflict(request)

    async def due_jobs(
        self,
        kind: DueKind,
        until_ms: int,
        limit: int,
        after: Due | None = None,
        *,
        client: str = "",
        from_ms: int = 0,
    ) -> list[Due]:
        """Return the scheduled jobs that are due by then, fresh ones of one caller; those `after` a row."""
        name = partition(kind, client)
        start = _index_key(name, job_key(after.job_id), after.due_ms) if after else None
        return [
            Due(
                row["PK"]["S"].removeprefix("JOB#"),
                int(row["due_ms"]["N"]),
                _number(row, "oldest_ms"),
                client,
            )
            for row in await self._due(name, until_ms, limit, start, from_ms=from_ms)
        ]

    async def due_requests(
        self, kind: DueKind, until_ms: int, limit: int, after: RequestKey | None = None, *, from_ms: int = 0
    ) -> list[RequestKey]:
        """Return the requests that are to be looked at by then; those `after` a row."""
        key = request_key(after.job_id, after.request_id) if after else {}
        start = _index_key(kind, key, after.due_ms) if after else None
        return [_key_of(row) for row in await self._due(kind, until_ms, limit, start, from_ms=from_ms)]

    async def ended(self, kind: EndedKind, limit: int) -> list[RequestKey]:
        """Return the requests that ended last, newest first."""
        return [_key_of(row) for row in await self._due(kind, FOREVER_MS, limit, newest_first=True)]

    async def count_before(self, row: IndexRow, limit: int) -> int:
        """Count the rows of the same partition that are due earlier, up to `limit`."""
        answer = await self._query_due(row.partition, row.at_ms - 1, limit, Select="COUNT")
        return int(answer["Count"])

    async def own(self, client: str, limit: int, before: OwnKey | None = None) -> list[OwnKey]:
        """Return a caller's requests, newest first, by their pointers."""
        name = own_partition(client)
        start = _index_key(name, _pointer_key(before.request_id), before.created_ms) if before else None
        rows = await self._due(name, FOREVER_MS, limit, start, newest_first=True)
        return [OwnKey(row["PK"]["S"].removeprefix("REQ#"), int(row["due_ms"]["N"])) for row in rows]

    async def count_requests(self, job_id: str, first_id: str, limit: int) -> int:
        """Count a job's requests from this id on, up to `limit`."""
        answer = await in_thread(
            self._client.query,
            TableName=self._table,
            KeyConditionExpression="PK = :pk AND SK >= :first",
            ExpressionAttributeValues={":pk": {"S": f"JOB#{job_id}"}, ":first": {"S": _request_sk(first_id)}},
            Select="COUNT",
            Limit=limit,
        )
        return int(answer["Count"])

    async def _due(
        self,
        name: str,
        until_ms: int,
        limit: int,
        start: Item | None = None,
        *,
        from_ms: int = 0,
        newest_first: bool = False,
    ) -> list[Item]:
        options = {"ScanIndexForward": not newest_first, **({"ExclusiveStartKey": start} if start else {})}
        answer = await self._query_due(name, until_ms, limit, from_ms, **options)
        return list(answer["Items"])

    async def _query_due(
        self, name: str, until_ms: int, limit: int, from_ms: int = 0, **options: Any
    ) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = await in_thread(
            self._client.query,
            TableName=self._table,
            IndexName=INDEX,
            KeyConditionExpression="due_kind = :kind AND due_ms BETWEEN :from AND :until",
            ExpressionAttributeValues={
                ":kind": {"S": name},
                ":from": {"N": str(from_ms)},
                ":until": {"N": str(until_ms)},
            },
            Limit=limit,
            **options,
        )
        return answer


def _index_key(name: str, key: Item, due_ms: int) -> Item:
    """Return the key of an index row: the table's own key and the index's."""
    return {**key, "due_kind": {"S": name}, "due_ms": {"N": str(due_ms)}}


def _request_sk(request_id: str) -> str:
    return f"REQ#{request_id}"


def _page(rows: Sequence[Item], *, more: bool) -> Page:
    requests = [_if_readable(row) for row in rows]
    next_id = rows[-1]["SK"]["S"].removeprefix("REQ#") + AFTER if more and rows else None
    return Page(tuple(request for request in requests if request), next_id)


def _if_readable(row: Item) -> Request | None:
    """Return the request of a row; None if a newer version wrote it, so that the others are still read."""
    try:
        return decode_request(row)
    except Unavailable:
        return None


def _pointer_key(request_id: str) -> Item:
    return {"PK": {"S": f"REQ#{request_id}"}, "SK": {"S": "REQ"}}


def _pointer(request: Request) -> Item:
    expires_s = (request.created_ms + POINTER_KEPT_MS) // 1000
    return {
        **_index_key(own_partition(request.client), _pointer_key(request.id), request.created_ms),
        "job_id": {"S": request.job_id},
        "expires_s": {"N": str(expires_s)},
    }


def _key_of(row: Item) -> RequestKey:
    job_id, request_id = row["PK"]["S"].removeprefix("JOB#"), row["SK"]["S"].removeprefix("REQ#")
    signed = row.get("state", {}).get("S") == RequestState.SIGNED
    return RequestKey(job_id, request_id, int(row["due_ms"]["N"]), _number(row, "created_ms"), signed)


def _number(row: Item, name: str) -> int:
    """Return a number of an index row; 0 if it is missing, so that a damaged row does not hide the others."""
    return int(row.get(name, {}).get("N", 0))
