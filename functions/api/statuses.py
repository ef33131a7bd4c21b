"""The state of an accepted request."""

from calling.slots import Slots
from core import scheduling, waiting
from core.job import Job, JobState
from core.messages import REQUEST_ID
from core.request import Request
from ports import Clock, JobStore
from web.access import Viewer
from web.bodies import Found
from web.deadline import Deadline

POSITION_MAX = 100


class Statuses:
    """Looks requests up, strongly consistent."""

    def __init__(self, store: JobStore, slots: Slots, clock: Clock) -> None:
        self._store = store
        self._slots = slots
        self._clock = clock

    async def find(self, request_id: str, viewer: Viewer, deadline: Deadline) -> Found | None:
        """Return a request; None if it does not exist or the viewer may not see it.

        Raises `Unavailable`.
        """
        request_id = request_id.lower()
        if not REQUEST_ID.fullmatch(request_id):
            return None
        async with deadline.limit():
            request = await self._store.request(request_id)
            if request is None or not viewer.sees(request):
                return None
            job = await self._store.job(request.job_id) if request.open else None
            return await self._found(request, job)

    async def _found(self, request: Request, job: Job | None) -> Found:
        if job is None:
            return Found(request)
        gate, position = await self._slots.refresh(), await self._position(job)
        called = job.attempts > request.attempts_before
        if gate.paused:
            return Found(request, job, None, position, called)
        ahead = waiting.ahead_of(gate.waiting, job.client) if job.state is JobState.WAITING else 0
        ready_at_ms = scheduling.ready_at_ms(gate, self._clock.now_ms(), ahead, job.next_try_ms)
        return Found(request, job, ready_at_ms, position, called)

    async def _position(self, job: Job) -> int | None:
        """Its position in its caller's queue, from 1; None beyond `POSITION_MAX`, to limit the cost."""
        if job.state is not JobState.WAITING or job.due_ms is None:
            return None
        before = await self._store.count_fresh(job.client, job.due_ms - 1, POSITION_MAX)
        return before + 1 if before < POSITION_MAX else None
