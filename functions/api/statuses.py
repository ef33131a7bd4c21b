"""Where an accepted request stands."""

import asyncio
from dataclasses import dataclass

from api.deadline import Deadline
from core import scheduling
from core.errors import Unavailable
from core.job import Job, JobState, Request
from core.messages import REQUEST_ID
from ports import Clock, JobStore
from service.slots import Slots

ROWS_MAX = 6_000


@dataclass(frozen=True, slots=True)
class Found:
    """A request, its job, and when its next call should have ended (None: not known, or it is done)."""

    request: Request
    job: Job | None
    ready_at_ms: int | None


class Statuses:
    """Looks requests up, strongly consistent."""

    def __init__(self, store: JobStore, slots: Slots, clock: Clock) -> None:
        self._store = store
        self._slots = slots
        self._clock = clock

    async def find(self, request_id: str, client: str, deadline: Deadline) -> Found | None:
        """Return the caller's own request; None for an unknown id and for another caller's alike.

        Raises `Unavailable`.
        """
        if not REQUEST_ID.fullmatch(request_id):
            return None
        try:
            async with asyncio.timeout(deadline.left_s()):
                request = await self._store.request(request_id)
                if request is None or request.client != client:
                    return None
                job = await self._store.job(request.job_id) if request.open else None
                return Found(request, job, await self._ready_at_ms(job))
        except TimeoutError:
            raise Unavailable("timeout") from None

    async def _ready_at_ms(self, job: Job | None) -> int | None:
        if job is None:
            return None
        window, now_ms = await self._slots.refresh(), self._clock.now_ms()
        if window.paused:
            return None
        ahead = 0
        if job.state is JobState.WAITING and job.due_ms is not None:
            ahead = (await self._store.backlog(ROWS_MAX, job.due_ms - 1)).count
        return scheduling.ready_at_ms(window, now_ms, ahead, max(job.next_try_ms, job.call_until_ms))
