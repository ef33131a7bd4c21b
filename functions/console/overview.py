"""What the console shows: the window, what is unfinished, and what ended last. No upstream call, few reads.

One read of the window and six bounded queries of the due index, plus each listed request once: a row of the
index that has not changed is not read again. The lists are of all callers' requests; a caller sees its own.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from calling.redelivery import replay
from calling.slots import Slots
from console.figures import Figures, figures
from core import scheduling
from core.errors import Unavailable
from core.gate import Gate
from core.messages import REQUEST_ID
from core.places import DueKind, EndedKind, Place
from core.request import Request
from core.scheduling import Due
from ports import Clock, JobStore, RequestKey, Telemetry, Waker
from web.access import Viewer
from web.deadline import Deadline

JOBS_MAX = 200
REQUESTS_MAX = 30
DONE_MAX = 50
ROWS_KEPT = 500
FOREVER_MS = 10**15

Kind = DueKind | EndedKind
LISTED_MAX: Mapping[Kind, int] = {
    DueKind.OPEN: REQUESTS_MAX,
    DueKind.DELIVERY: REQUESTS_MAX,
    EndedKind.UNDELIVERABLE: REQUESTS_MAX,
    EndedKind.DONE: DONE_MAX,
}
IndexRow = tuple[Kind, RequestKey]
"""Where a request stands on the index; as long as it stands there it has not changed."""


@dataclass(frozen=True, slots=True)
class Row:
    """A request. `ready_at_ms`: when its next call should have ended, as far as is known."""

    request: Request
    called: bool
    ready_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """Where the service stands.

    `rows`: what is due first, what was given up last and what ended last, each up to its limit.
    `more`: there is more that is unfinished or undeliverable. `figures`: of the rows.
    """

    now_ms: int
    gate: Gate
    waiting: Sequence[Due]
    retrying: Sequence[Due]
    rows: Sequence[Row]
    more: bool
    figures: Figures


class Console:
    """Reads the overview, and starts deliveries again."""

    def __init__(
        self, store: JobStore, slots: Slots, waker: Waker, clock: Clock, telemetry: Telemetry
    ) -> None:
        self._store = store
        self._slots = slots
        self._waker = waker
        self._clock = clock
        self._telemetry = telemetry
        self._seen: OrderedDict[IndexRow, Request] = OrderedDict()

    async def overview(self, viewer: Viewer, deadline: Deadline) -> Overview:
        """Return what this viewer may see; raises `Unavailable`."""
        try:
            async with asyncio.timeout(deadline.left_s()):
                gate, waiting, retrying, rows = await asyncio.gather(
                    self._slots.refresh(),
                    self._store.due_jobs(DueKind.FRESH, FOREVER_MS, JOBS_MAX),
                    self._store.due_jobs(DueKind.RETRY, FOREVER_MS, JOBS_MAX),
                    self._rows_of_the_index(),
                )
                requests = await self._requests(rows, viewer)
        except TimeoutError:
            raise Unavailable("timeout") from None
        now_ms, done = self._clock.now_ms(), rows[EndedKind.DONE]
        return Overview(
            now_ms,
            gate,
            waiting,
            retrying,
            rows=_rows(
                requests, {due.job_id for due in retrying}, _ready_times_ms(gate, now_ms, waiting, retrying)
            ),
            more=any(len(keys) == LISTED_MAX[kind] for kind, keys in rows.items() if keys is not done),
            figures=figures(requests, now_ms, done[-1].due_ms if len(done) == DONE_MAX else 0),
        )

    async def replay(self, request_id: str, viewer: Viewer, deadline: Deadline) -> Request | None:
        """Start a request's delivery again; None if there is no such request for this viewer.

        Raises `NotReplayable`, and `Unavailable`.
        """
        if not REQUEST_ID.fullmatch(request_id):
            return None
        try:
            async with asyncio.timeout(deadline.left_s()):
                request = await self._store.request(request_id)
                if request is None or not viewer.sees(request):
                    return None
                replayed = await replay(self._store, request, self._clock.now_ms(), queued=False)
        except TimeoutError:
            raise Unavailable("timeout") from None
        self._telemetry.event("delivery_replayed", request_id=request_id, by=viewer.name)
        await self._wake(deadline)
        return replayed

    async def _wake(self, deadline: Deadline) -> None:
        """Best effort: the processor looks each minute by itself."""
        try:
            async with asyncio.timeout(deadline.left_s()):
                await self._waker.wake()
        except (Unavailable, TimeoutError) as error:
            self._telemetry.event("processor_not_told", reason=str(error) or "timeout")

    async def _rows_of_the_index(self) -> dict[Kind, list[RequestKey]]:
        rows = await asyncio.gather(*(self._rows_of(kind, limit) for kind, limit in LISTED_MAX.items()))
        return dict(zip(LISTED_MAX, rows, strict=True))

    async def _rows_of(self, kind: Kind, limit: int) -> list[RequestKey]:
        if isinstance(kind, EndedKind):
            return await self._store.ended(kind, limit)
        return await self._store.due_requests(kind, FOREVER_MS, limit)

    async def _requests(self, rows: Mapping[Kind, Iterable[RequestKey]], viewer: Viewer) -> list[Request]:
        """Return what this viewer may see, each once: the index may show one in two places for a moment."""
        places = [(kind, key) for kind, keys in rows.items() for key in keys]
        found = await asyncio.gather(*(self._request(place) for place in places))
        latest = {request.id: request for request in found if request is not None}
        return [request for request in latest.values() if viewer.sees(request)]

    async def _request(self, place: IndexRow) -> Request | None:
        """Return the request of a row, as it is now: it may have gone on, and the index lags."""
        _, key = place
        request = self._seen.get(place) or await self._store.request_of(key.job_id, key.request_id)
        if request is not None and _stands_at(request, place):
            self._seen[place] = request
            self._seen.move_to_end(place)
            if len(self._seen) > ROWS_KEPT:
                self._seen.popitem(last=False)
        return request


def _stands_at(request: Request, place: IndexRow) -> bool:
    """Whether the row is as new as its request; then, as long as it stays, the request is the same."""
    kind, key = place
    return request.place == Place(kind, key.due_ms)


def _rows(requests: Iterable[Request], called: Container[str], ready_at_ms: Mapping[str, int]) -> list[Row]:
    """Join requests with what their jobs' rows show: which were called, and when the next call ends."""
    return [
        Row(request, request.job_id in called, ready_at_ms.get(request.job_id) if request.open else None)
        for request in requests
    ]


def _ready_times_ms(
    gate: Gate, now_ms: int, waiting: Sequence[Due], retrying: Sequence[Due]
) -> dict[str, int]:
    """When each job's next call should have ended, by job."""
    if gate.paused:
        return {}
    starts_ms = scheduling.call_times_ms(gate, now_ms, len(waiting))
    latency_ms = gate.hints.latency_ms
    ready = {due.job_id: at_ms + latency_ms for due, at_ms in zip(waiting, starts_ms, strict=True)}
    return ready | {due.job_id: scheduling.ready_at_ms(gate, now_ms, 0, due.due_ms) for due in retrying}
