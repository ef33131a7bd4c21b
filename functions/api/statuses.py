"""The state of an accepted request."""

from calling.slots import Slots
from core import scheduling, waiting
from core.gate import Gate
from core.job import Job, JobState
from core.request import Request
from ports import Clock, JobStore
from web.access import Viewer, visible
from web.bodies import Found
from web.deadline import Deadline

POSITION_MAX = 100


class Statuses:
    """Looks requests up, strongly consistent."""

    def __init__(self, store: JobStore, slots: Slots, clock: Clock) -> None:
        self._store = store
        self._slots = slots
        self._clock = clock

    async def find(self, request_id: str, viewer: Viewer, deadline: Deadline) -> Found:
        """Return a request. Raises `Unavailable`, and `RequestProblem`: it is not found."""
        async with deadline.limit():
            request = await visible(self._store, request_id, viewer)
            job = await self._store.job(request.job_id) if request.open else None
            return await self._found(request, job)

    async def _found(self, request: Request, job: Job | None) -> Found:
        if job is None:
            return Found(request)
        gate, before = await self._slots.refresh(), await self._before(job)
        position = before + 1 if job.queue is not None and before < POSITION_MAX else None
        called = job.attempts > request.attempts_before
        ready_at_ms = None if gate.paused else self._ready_at_ms(gate, job, before)
        return Found(request, job, ready_at_ms, position, called)

    def _ready_at_ms(self, gate: Gate, job: Job, before: int) -> int:
        now_ms = self._clock.now_ms()
        if job.attempts:
            return scheduling.retry_ready_at_ms(gate, now_ms, before, job.next_try_ms)
        ahead = waiting.ahead_of(gate.waiting, job.client) if job.state is JobState.WAITING else 0
        return scheduling.ready_at_ms(gate, now_ms, ahead, job.next_try_ms)

    async def _before(self, job: Job) -> int:
        """How many jobs are due before it in its partition, up to `POSITION_MAX`, to limit the cost."""
        return await self._store.count_before(job.index_row, POSITION_MAX) if job.index_row else 0
