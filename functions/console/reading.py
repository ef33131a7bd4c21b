"""Reads the state of the service: the window, unfinished requests, ended requests, and the last hour.

It makes no upstream call and few reads: one of the window, six bounded queries of the due index, and the
items of the last hour every few seconds. A listed request or job is read only if its row of the index has
changed. The console and the operator's tool show the same reading.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from calling.due_rows import retries, waiting_jobs
from core.due_index import DueKind, EndedKind, IndexRow
from core.gate import Gate
from core.headline import Facts
from core.history import Minute, believed
from core.request import Request
from core.scheduling import Due
from core.waiting import total
from ports import FOREVER_MS, Clock, History, JobStore, RequestKey

JOBS_MAX = 200
REQUESTS_MAX = 30
DONE_MAX = 50
ROWS_KEPT = 500
MINUTES_READ_MS = 5_000
HOUR_MS = 3_600_000
TRIED_AGAIN = 2
"""A webhook that failed once does not count as failing: its second attempt follows in seconds."""

Kind = DueKind | EndedKind
LISTED_MAX: Mapping[Kind, int] = {
    DueKind.OPEN: REQUESTS_MAX,
    DueKind.DELIVERY: REQUESTS_MAX,
    EndedKind.UNDELIVERABLE: REQUESTS_MAX,
    EndedKind.DONE: DONE_MAX,
}
ListedRow = tuple[Kind, RequestKey]
"""A request's row of the index. While the row is the same, the request has not changed."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The state of the service at `now_ms`.

    `waiting`, `retrying`: up to `JOBS_MAX` jobs each. `requests`: those that are due first, the last with
    an undeliverable webhook and the last others that ended, each list up to its limit. `more`: there are more
    unfinished or undeliverable ones. `listed_since_ms`: all requests that ended since then are listed.
    `errors`: the error code of the last call of each listed job that is retried, by job.
    `hour`: the history's items of the last hour; `last_minute`: its newest item of any age.
    """

    now_ms: int
    gate: Gate
    waiting: Sequence[Due]
    retrying: Sequence[Due]
    requests: Sequence[Request]
    more: bool
    listed_since_ms: int
    errors: Mapping[str, str]
    hour: Sequence[Minute]
    last_minute: Minute | None

    @property
    def ran_at_ms(self) -> int | None:
        """When the processor's last scheduled run wrote its item; without one, since when a job has waited.

        None if there is neither: whether the processor runs is then not known.
        """
        if self.last_minute:
            return self.last_minute.at_ms
        return min((due.oldest_ms for due in (*self.waiting, *self.retrying)), default=None)

    @property
    def waiting_count(self) -> int:
        """How many jobs wait for a first call, listed or not; the index shows some sooner than the count."""
        return max(len(self.waiting), total(self.gate.waiting))


class Reader:
    """Reads the state, and keeps records that have not changed since."""

    def __init__(
        self, store: JobStore, read_gate: Callable[[], Awaitable[Gate]], history: History, clock: Clock
    ) -> None:
        self._store = store
        self._read_gate = read_gate
        self._history = history
        self._clock = clock
        self._current: OrderedDict[ListedRow, Request] = OrderedDict()
        self._errors: dict[Due, str] = {}
        self._hour: Sequence[Minute] = ()
        self._hour_read_at_ms: int | None = None

    async def read(self) -> Reading:
        """Return the state of the service; raises `Unavailable`."""
        gate = await self._read_gate()
        waiting, retrying, rows, hour = await asyncio.gather(
            waiting_jobs(self._store, gate, FOREVER_MS, JOBS_MAX),
            retries(self._store, gate, FOREVER_MS, JOBS_MAX),
            self._rows_of_the_index(),
            self._minutes(),
        )
        requests = await self._requests(rows)
        done = rows[EndedKind.DONE]
        return Reading(
            self._clock.now_ms(),
            gate,
            waiting,
            retrying,
            requests,
            more=any(len(keys) == LISTED_MAX[kind] for kind, keys in rows.items() if keys is not done),
            listed_since_ms=done[-1].due_ms if len(done) == DONE_MAX else 0,
            errors=await self._last_errors(
                retrying, {request.job_id for request in requests if request.open}
            ),
            hour=hour,
            last_minute=hour[-1] if hour else await self._history.last(self._clock.now_ms()),
        )

    async def minutes(self, since_ms: int) -> list[Minute]:
        """Return the minutes from then on; raises `Unavailable`."""
        return believed(await self._history.since(since_ms), self._clock.now_ms())

    async def _minutes(self) -> Sequence[Minute]:
        mono_ms = self._clock.monotonic_ms()
        if self._hour_read_at_ms is None or mono_ms - self._hour_read_at_ms >= MINUTES_READ_MS:
            self._hour = await self.minutes(self._clock.now_ms() - HOUR_MS)
            self._hour_read_at_ms = mono_ms
        return self._hour

    async def _rows_of_the_index(self) -> dict[Kind, list[RequestKey]]:
        rows = await asyncio.gather(*(self._rows_of(kind, limit) for kind, limit in LISTED_MAX.items()))
        return dict(zip(LISTED_MAX, rows, strict=True))

    async def _rows_of(self, kind: Kind, limit: int) -> list[RequestKey]:
        if isinstance(kind, EndedKind):
            return await self._store.ended(kind, limit)
        return await self._store.due_requests(kind, FOREVER_MS, limit)

    async def _requests(self, rows: Mapping[Kind, Iterable[RequestKey]]) -> list[Request]:
        """Return each request once, although the index may show two rows of one for a moment."""
        listed = [(kind, key) for kind, keys in rows.items() for key in keys]
        found = await asyncio.gather(*(self._request(row) for row in listed))
        return list({request.id: request for request in found if request is not None}.values())

    async def _request(self, row: ListedRow) -> Request | None:
        """Return the request of a row as it is stored now; it may be newer than its row."""
        _, key = row
        request = self._current.get(row) or await self._store.request_of(key.job_id, key.request_id)
        if request is not None and _is_current(request, row):
            self._current[row] = request
            self._current.move_to_end(row)
            if len(self._current) > ROWS_KEPT:
                self._current.popitem(last=False)
        return request

    async def _last_errors(self, retrying: Iterable[Due], wanted: set[str]) -> dict[str, str]:
        """Return the error code of each job's last call, by job; a job's row changes with every call."""
        rows = [due for due in retrying if due.job_id in wanted]
        unknown = [due for due in rows if due not in self._errors]
        jobs = await asyncio.gather(*(self._store.job(due.job_id) for due in unknown))
        read = {due: job.error if job else "" for due, job in zip(unknown, jobs, strict=True)}
        self._errors = {due: self._errors.get(due, "") or read.get(due, "") for due in rows}
        return {due.job_id: error for due, error in self._errors.items()}


def _is_current(request: Request, row: ListedRow) -> bool:
    """Whether the row is as new as its request; then, as long as it stays, the request is the same."""
    kind, key = row
    return request.index_row == IndexRow(kind, key.due_ms)


def facts(reading: Reading, requests: Iterable[Request], dead_letters: int) -> Facts:
    """Return the facts for the headline. `requests`: those of the reading that the viewer may see."""
    latest = reading.last_minute
    deliveries = [request.delivery for request in requests]
    failing = [each for each in deliveries if each.state == "pending" and each.attempts >= TRIED_AGAIN]
    given_up = [
        each
        for each in deliveries
        if each.state in {"gone", "undeliverable"} and each.ended_ms > reading.now_ms - HOUR_MS
    ]
    return Facts(
        reading.now_ms,
        reading.gate,
        reading.waiting_count,
        len(reading.retrying),
        uncounted=len(reading.retrying) == JOBS_MAX,
        ran_at_ms=reading.ran_at_ms,
        noted_state=latest.state if latest else "",
        noted_since_ms=latest.since_ms if latest else None,
        webhooks_failing=len(failing),
        webhooks_given_up=len(given_up),
        webhook_error=next((each.reason for each in (*failing, *given_up) if each.reason), ""),
        dead_letters=dead_letters,
    )
