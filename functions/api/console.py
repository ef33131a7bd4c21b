"""What the console shows: the window, what is unfinished, and what ended last. No upstream call, few reads.

One read of the window and six bounded queries of the due index, plus each listed request once: a row of the
index that has not changed is not read again. The lists are of all callers' requests; a caller sees its own.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from api.deadline import Deadline
from api.figures import Figures, figures
from api.statuses import Viewer
from core import scheduling
from core.errors import Unavailable
from core.job import Request
from core.messages import REQUEST_ID
from core.scheduling import Due
from core.window import Window
from ports import Clock, DueKind, EndedKind, JobStore, RequestKey, Telemetry, Waker
from service.redelivery import replay
from service.slots import Slots

JOBS_MAX = 200
REQUESTS_MAX = 30
DONE_MAX = 50
ROWS_KEPT = 500
FOREVER_MS = 10**15

Place = tuple[DueKind | EndedKind, RequestKey]
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
    window: Window
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
        self._seen: OrderedDict[Place, Request] = OrderedDict()

    async def overview(self, viewer: Viewer, deadline: Deadline) -> Overview:
        """Return what this viewer may see; raises `Unavailable`."""
        try:
            async with asyncio.timeout(deadline.left_s()):
                window, waiting, retrying, unfinished, given_up, done = await asyncio.gather(
                    self._slots.refresh(),
                    self._store.due_jobs(DueKind.FRESH, FOREVER_MS, JOBS_MAX),
                    self._store.due_jobs(DueKind.RETRY, FOREVER_MS, JOBS_MAX),
                    self._unfinished(),
                    self._ended(EndedKind.UNDELIVERABLE, REQUESTS_MAX),
                    self._ended(EndedKind.DONE, DONE_MAX),
                )
                requests = await self._requests([*unfinished, *given_up, *done], viewer)
        except TimeoutError:
            raise Unavailable("timeout") from None
        now_ms = self._clock.now_ms()
        ready_at_ms = _ready_times_ms(window, now_ms, waiting, retrying)
        called = {due.job_id for due in retrying}
        rows = [
            Row(request, request.job_id in called, ready_at_ms.get(request.job_id) if request.open else None)
            for request in requests
        ]
        listed_since_ms = done[-1][1].due_ms if len(done) == DONE_MAX else 0
        return Overview(
            now_ms,
            window,
            waiting,
            retrying,
            rows,
            more=any(_is_cut_off(kind, [*unfinished, *given_up]) for kind in (*DueKind, *EndedKind)),
            figures=figures(requests, now_ms, listed_since_ms),
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
                replayed = await replay(self._store, request, self._clock.now_ms())
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

    async def _unfinished(self) -> list[Place]:
        kinds = (DueKind.OPEN, DueKind.DELIVERY)
        rows = await asyncio.gather(
            *(self._store.due_requests(kind, FOREVER_MS, REQUESTS_MAX) for kind in kinds)
        )
        return [(kind, key) for kind, keys in zip(kinds, rows, strict=True) for key in keys]

    async def _ended(self, kind: EndedKind, limit: int) -> list[Place]:
        return [(kind, key) for key in await self._store.ended(kind, limit)]

    async def _requests(self, places: Iterable[Place], viewer: Viewer) -> list[Request]:
        """Return what this viewer may see, each once: the index may show one in two places for a moment."""
        found = await asyncio.gather(*(self._request(place) for place in places))
        latest = {request.id: request for request in found if request is not None}
        return [request for request in latest.values() if viewer.sees(request)]

    async def _request(self, place: Place) -> Request | None:
        """Return the request of a row, as it is now: it may have gone on, and the index lags."""
        _, key = place
        request = self._seen.get(place) or await self._store.request_of(key.job_id, key.request_id)
        if request is not None and _stands_at(request, place):
            self._seen[place] = request
            self._seen.move_to_end(place)
            if len(self._seen) > ROWS_KEPT:
                self._seen.popitem(last=False)
        return request


def _stands_at(request: Request, place: Place) -> bool:
    """Whether the row is as new as its request; then, as long as it stays, the request is the same."""
    kind, key = place
    if kind in set(EndedKind):
        return request.ended_ms == key.due_ms and request.undelivered == (kind is EndedKind.UNDELIVERABLE)
    return request.due_ms == key.due_ms and request.open == (kind is DueKind.OPEN)


def _is_cut_off(kind: DueKind | EndedKind, places: Iterable[Place]) -> bool:
    return sum(place[0] is kind for place in places) == REQUESTS_MAX


def _ready_times_ms(
    window: Window, now_ms: int, waiting: Sequence[Due], retrying: Sequence[Due]
) -> dict[str, int]:
    """When each job's next call should have ended, by job."""
    if window.paused:
        return {}
    starts_ms = scheduling.call_times_ms(window, now_ms, len(waiting))
    latency_ms = scheduling.latency_ms(window)
    ready = {due.job_id: at_ms + latency_ms for due, at_ms in zip(waiting, starts_ms, strict=True)}
    return ready | {due.job_id: scheduling.ready_at_ms(window, now_ms, 0, due.due_ms) for due in retrying}
