"""What the console shows: the window, and what is unfinished. No upstream call, and few reads.

One read of the window and four bounded queries of the due index, plus each listed request once: a row of the
index that has not changed is not read again. What is finished stands on no index: the page looks up the end
of those that it saw, and the metrics have the rest.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from api.deadline import Deadline
from api.statuses import Viewer
from core import scheduling
from core.errors import Unavailable
from core.job import Request
from core.messages import REQUEST_ID
from core.scheduling import Due
from core.window import Window
from ports import Clock, DueKind, JobStore, RequestKey, Telemetry, Waker
from service.redelivery import replay
from service.slots import Slots

JOBS_MAX = 200
REQUESTS_MAX = 30
ROWS_KEPT = 500
FOREVER_MS = 10**15


@dataclass(frozen=True, slots=True)
class Row:
    """An unfinished request. `ready_at_ms`: when its next call should have ended, as far as is known."""

    request: Request
    called: bool
    ready_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """Where the service stands. Each list has what is due first, up to its limit."""

    now_ms: int
    window: Window
    waiting: Sequence[Due]
    retrying: Sequence[Due]
    rows: Sequence[Row]
    more: bool


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
        self._seen: OrderedDict[RequestKey, Request] = OrderedDict()

    async def overview(self, viewer: Viewer, deadline: Deadline) -> Overview:
        """Return what this viewer may see; raises `Unavailable`."""
        try:
            async with asyncio.timeout(deadline.left_s()):
                window, waiting, retrying, opened, deliveries = await asyncio.gather(
                    self._slots.refresh(),
                    self._store.due_jobs(DueKind.FRESH, FOREVER_MS, JOBS_MAX),
                    self._store.due_jobs(DueKind.RETRY, FOREVER_MS, JOBS_MAX),
                    self._store.due_requests(DueKind.OPEN, FOREVER_MS, REQUESTS_MAX),
                    self._store.due_requests(DueKind.DELIVERY, FOREVER_MS, REQUESTS_MAX),
                )
                requests = await asyncio.gather(*(self._request(key) for key in opened + deliveries))
        except TimeoutError:
            raise Unavailable("timeout") from None
        now_ms = self._clock.now_ms()
        ready_at_ms = _ready_times_ms(window, now_ms, waiting, retrying)
        called = {due.job_id for due in retrying}
        rows = [
            Row(request, request.job_id in called, ready_at_ms.get(request.job_id) if request.open else None)
            for request in requests
            if request is not None and viewer.sees(request)
        ]
        more = REQUESTS_MAX in {len(opened), len(deliveries)}
        return Overview(now_ms, window, waiting, retrying, rows, more)

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

    async def _request(self, key: RequestKey) -> Request | None:
        """Return the request of a row, if it still stands there; a row whose time is the same is the same."""
        request = self._seen.get(key) or await self._store.request_of(key.job_id, key.request_id)
        if request is None or request.due_ms is None:
            return None
        if request.due_ms == key.due_ms:
            self._seen[key] = request
            self._seen.move_to_end(key)
            if len(self._seen) > ROWS_KEPT:
                self._seen.popitem(last=False)
        return request


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
