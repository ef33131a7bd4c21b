"""The sweep: look at every request that is due, and do the next step that it needs.

Every request that is not done is on the due index. So no crash, lost message or restart needs another repair.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any

from calling.conditional import amend_job
from calling.due_rows import retries
from calling.outcomes import Outcomes
from calling.slots import Slots
from calling.wakeups import WakeUps
from core import clocks, hints
from core import job as jobs
from core.config import CallSettings
from core.due_index import DueKind
from core.errors import Unavailable, Unreadable, described
from core.gate import Gate
from core.job import Job, Waiter
from core.messages import REQUEST_ID, NotificationMessage
from core.request import (
    Request,
    attempt_due,
    delivery_overdue_ms,
    look_again,
    plausible,
    resend_delivery,
)
from core.window import Change
from ports import FOREVER_MS, Ports, RequestKey, Written
from processor.backoff import Backoff

ROWS_MAX = 100
UNREADABLE_MS = 60_000


class Sweep:
    """Looks at open requests and pending deliveries that are due."""

    def __init__(
        self, ports: Ports, slots: Slots, outcomes: Outcomes, backoff: Backoff, settings: CallSettings
    ) -> None:
        self._ports = ports
        self._store = ports.store
        self._notifications = ports.notifications
        self._clock = ports.clock
        self._telemetry = ports.telemetry
        self._slots = slots
        self._outcomes = outcomes
        self._backoff = backoff
        self._settings = settings

    async def run(self, stop_mono_ms: int) -> None:
        """Look at due requests and deliveries, page by page, until `stop_mono_ms`.

        Raises `Unavailable`; the remaining rows are still due.
        """
        await self._act_on_pages(DueKind.OPEN, self._look_at_requests, stop_mono_ms)
        await self._act_on_pages(DueKind.DELIVERY, self._resend, stop_mono_ms)

    async def correct(self, stop_mono_ms: int) -> None:
        """Look at rows that are due later than any wait lasts, because a host with a wrong clock wrote them.

        Raises `Unavailable`; the remaining rows stay as they are.
        """
        from_ms = self._clock.now_ms() + clocks.WAIT_MS_MAX + clocks.SKEW_MS_MAX + 1
        await self._act_on_pages(DueKind.OPEN, self._look_at_requests, stop_mono_ms, from_ms)
        await self._act_on_pages(DueKind.DELIVERY, self._resend, stop_mono_ms, from_ms)
        gate = self._slots.gate or await self._slots.refresh()
        rows = await retries(self._store, gate, FOREVER_MS, ROWS_MAX, from_ms=from_ms)
        await self._carry_out_all((due.job_id, self._correct_job(due.job_id)) for due in rows)

    async def _correct_job(self, job_id: str) -> None:
        """Make a job due now if perhaps no request waits for it any more."""
        job = await self._store.job(job_id)
        corrected = jobs.plausible(job, self._clock.now_ms()) if job else None
        if job and corrected and corrected is not job:
            await self._store.write_job(job, corrected)

    async def _act_on_pages(
        self,
        kind: DueKind,
        act: Callable[[Sequence[RequestKey]], Awaitable[None]],
        stop_mono_ms: int,
        from_ms: int = 0,
    ) -> None:
        """Read page after page, past stale rows and rows that can't be read, which stay on the index."""
        now_ms, after = self._clock.now_ms(), None
        while self._clock.monotonic_ms() < stop_mono_ms:
            until_ms = FOREVER_MS if from_ms else now_ms
            page = await self._store.due_requests(kind, until_ms, ROWS_MAX, after, from_ms=from_ms)
            await act([key for key in page if not self._is_skipped(key, now_ms)])
            if len(page) < ROWS_MAX:
                return
            after = page[-1]

    def _is_skipped(self, key: RequestKey, now_ms: int) -> bool:
        return any(self._backoff.holds(name, now_ms) for name in (key.job_id, key.request_id))

    async def _look_at_requests(self, keys: Sequence[RequestKey]) -> None:
        by_job: defaultdict[str, set[str]] = defaultdict(set)
        for key in keys:
            by_job[key.job_id].add(key.request_id)
        await self._carry_out_all((job_id, self._look_at_job(job_id, ids)) for job_id, ids in by_job.items())

    async def _carry_out_all(self, steps: Iterable[tuple[str, Coroutine[Any, Any, None]]]) -> None:
        """Carry out one step for each record, concurrently: a record that fails does not stop the others."""
        named = list(steps)
        results = await asyncio.gather(*(step for _, step in named), return_exceptions=True)
        for (record_id, _), result in zip(named, results, strict=True):
            if isinstance(result, Unavailable) and not isinstance(result, Unreadable):  # it is still due
                self._telemetry.event(
                    "not_swept", {"SweepFailures": 1}, **_named(record_id), reason=str(result)
                )
            elif isinstance(result, Exception):
                self._skip(record_id, result)
            elif isinstance(result, BaseException):
                raise result

    def _skip(self, record_id: str, error: Exception) -> None:
        self._backoff.hold(record_id, self._clock.now_ms(), UNREADABLE_MS)
        self._telemetry.event(
            "record_skipped", {"Unreadable": 1}, **_named(record_id), reason=described(error)
        )

    async def _look_at_job(self, job_id: str, request_ids: set[str]) -> None:
        """Close the due requests that the job has an outcome for; schedule the job for the others."""
        job, page = await self._store.load(job_id)
        found = {request.id: request for request in page.requests if request.id in request_ids}
        for request_id in request_ids - found.keys():
            if request := await self._readable(job_id, request_id):
                found[request_id] = request
        due = [request for request in found.values() if request.open]
        if not due:
            return
        closing = [(request, self._outcome(job, request)) for request in due]
        await self._outcomes.close([(request, after) for request, after in closing if after])
        waiting = [request for request, after in closing if after is None]
        if waiting:
            await self._schedule_for(job, waiting)

    def _outcome(self, job: Job | None, request: Request) -> Request | None:
        return self._outcomes.outcome(job, request, after_call=False) if job else None

    async def _schedule_for(self, job: Job | None, waiting: Sequence[Request]) -> None:
        """Schedule the job for the requests that wait for it, and set when to look at them again."""
        scheduled = await self._scheduled(job, min(waiting, key=lambda request: request.id))
        now_ms = self._clock.now_ms()
        later = [(request, look_again(request, scheduled, now_ms)) for request in waiting]
        await asyncio.gather(*(self._store.write_request(before, after) for before, after in later))

    async def _readable(self, job_id: str, request_id: str) -> Request | None:
        """Return a request; None if it does not exist or can't be read."""
        try:
            return await self._store.request_of(job_id, request_id)
        except Unreadable as error:
            self._skip(request_id, error)
            return None

    async def _scheduled(self, job: Job | None, oldest: Request) -> Job:
        """Return the job, scheduled if it has no outcome. A missing or idle job is scheduled again."""
        waiter = Waiter(oldest.id, oldest.client)

        def decide(seen: Job | None) -> Job:
            now_ms, ttl_ms = self._clock.now_ms(), self._settings.signature_ttl_ms
            job = jobs.schedule(seen, oldest.message, now_ms, waiter, outcome_ttl_ms=ttl_ms)
            return jobs.plausible(job, now_ms)

        scheduled = await amend_job(self._store, job, decide)
        if scheduled is not job:
            self._telemetry.event("job_scheduled_again", job_id=scheduled.id, state=scheduled.state)
        await self._count_waiting(scheduled, revived=scheduled is not job)
        return scheduled

    async def _count_waiting(self, job: Job, *, revived: bool) -> None:
        """Count a job's caller if it has no count, as after a crash: without one it gets no turn.

        A job that was entered or revived now may have come too late for this run, so it gets a wake-up.
        """
        now_ms = self._clock.now_ms()

        def decide(gate: Gate) -> Change | None:
            if not job.scheduled or job.client in (gate.open_requests if job.attempts else gate.waiting):
                return None
            if job.attempts:
                return hints.count_open(gate.window, job.client)
            return hints.enter(gate.window, job.client, now_ms)

        if await self._slots.amend(decide) or revived:
            await WakeUps(self._ports, self._slots).leave_job(job, {})

    async def _resend(self, keys: Sequence[RequestKey]) -> None:
        """Send the messages of due deliveries again, because they may be lost.

        Each row's `due_ms` is moved first, by a conditional write: of several runs, only one sends.
        """
        moved: list[Request] = []
        await self._carry_out_all((key.request_id, self._postpone(key, moved)) for key in keys)
        messages = [NotificationMessage(row.job_id, row.id, row.delivery.attempts).encode() for row in moved]
        if messages:
            await self._notifications.send(messages)

    async def _postpone(self, key: RequestKey, moved: list[Request]) -> None:
        request = await self._store.request_of(key.job_id, key.request_id)
        now_ms = self._clock.now_ms()
        request = plausible(request, now_ms) if request else None
        if request is None or not request.delivery_due or (request.due_ms or 0) > now_ms:
            return
        result = await self._store.write_request(request, resend_delivery(request, now_ms))
        if isinstance(result, Written) and attempt_due(request, now_ms):
            overdue_s = delivery_overdue_ms(request, now_ms) / 1000
            self._telemetry.event("webhook_overdue", {"DeliveryOverdueS": overdue_s}, request_id=request.id)
            moved.append(result.record)


def _named(record_id: str) -> dict[str, str]:
    """Return the log field of a record: the id of a request, or of a job."""
    return {"request_id" if REQUEST_ID.fullmatch(record_id) else "job_id": record_id}
