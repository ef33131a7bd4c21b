"""Every request that is not done stands on the due index, and whatever it lacks is done when it is due.

This is the one rule that keeps everything alive: no crash, lost message or restart needs another.
"""

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Iterable
from typing import Any, TypeGuard

from calling.conditional import amend_job
from calling.outcomes import Outcomes
from core import job as jobs
from core.errors import Unavailable
from core.job import Job
from core.messages import NotificationMessage
from core.places import DueKind
from core.request import Request, delivery_overdue_ms, look_again, resend_delivery
from ports import Ports, RequestKey, Written

ROWS_MAX = 100
PAGES_MAX = 5
HORIZON_MS = 12_000
AT_ONCE_MS = 0


class Sweep:
    """Looks at open requests and pending deliveries that are due."""

    def __init__(self, ports: Ports, outcomes: Outcomes) -> None:
        self._store = ports.store
        self._notifications = ports.notifications
        self._clock = ports.clock
        self._telemetry = ports.telemetry
        self._outcomes = outcomes

    async def run(self) -> int | None:
        """Do what is missing; return when something is to be looked at next, if that is soon.

        Upstream calls wait meanwhile, so it stops after some pages: `AT_ONCE_MS` says that more is due. Rows
        that stay where they are, stale or unreadable, are passed over. Raises `Unavailable`; what was not
        done is due still.
        """
        seen: set[RequestKey] = set()
        for page in range(1, PAGES_MAX + 1):
            rows = await self._due(page * ROWS_MAX)
            now_ms = self._clock.now_ms()
            due = [[key for key in keys if key.due_ms <= now_ms and key not in seen] for keys in rows]
            await self._do(*due)
            more = any(len(keys) == page * ROWS_MAX and keys[-1].due_ms <= now_ms for keys in rows)
            if not more or not any(due):
                return min((key.due_ms for keys in rows for key in keys if key.due_ms > now_ms), default=None)
            seen.update(*due)
        return AT_ONCE_MS

    async def _due(self, limit: int) -> tuple[list[RequestKey], list[RequestKey]]:
        """Read the index: open requests, and pending deliveries."""
        until_ms = self._clock.now_ms() + HORIZON_MS
        return await asyncio.gather(
            self._store.due_requests(DueKind.OPEN, until_ms, limit),
            self._store.due_requests(DueKind.DELIVERY, until_ms, limit),
        )

    async def _do(self, requests: list[RequestKey], deliveries: list[RequestKey]) -> None:
        await self._look_at_requests(requests)
        await self._each(self._resend(key) for key in deliveries)

    async def _look_at_requests(self, keys: list[RequestKey]) -> None:
        by_job: defaultdict[str, set[str]] = defaultdict(set)
        for key in keys:
            by_job[key.job_id].add(key.request_id)
        await self._each(self._look_at_job(job_id, ids) for job_id, ids in by_job.items())

    async def _each(self, steps: Iterable[Coroutine[Any, Any, None]]) -> None:
        """Carry out steps side by side: one record that can't be read holds up no other."""
        for result in await asyncio.gather(*steps, return_exceptions=True):
            if isinstance(result, Unavailable):  # it is due still
                self._telemetry.event("not_swept", {"SweepFailures": 1}, reason=str(result))
            elif isinstance(result, BaseException):
                raise result

    async def _look_at_job(self, job_id: str, request_ids: set[str]) -> None:
        """Close the due requests that the job has an outcome for; see that it is scheduled for the others."""
        job, page = await self._store.load(job_id)
        found = {request.id: request for request in page.requests if request.id in request_ids}
        others = await asyncio.gather(
            *(self._store.request_of(job_id, request_id) for request_id in request_ids - found.keys())
        )
        due = [request for request in (*found.values(), *others) if request and request.open]
        if not due:
            return
        job = await self._scheduled(job, min(due, key=lambda request: request.id))
        now_ms = self._clock.now_ms()
        closing = [(request, self._outcomes.outcome(job, request, after_call=False)) for request in due]
        await self._outcomes.close([(request, after) for request, after in closing if after])
        await asyncio.gather(
            *(
                self._store.write_request(request, look_again(request, job, now_ms))
                for request, after in closing
                if after is None
            )
        )

    async def _scheduled(self, job: Job | None, oldest: Request) -> Job:
        """Return the job as it is, scheduled if it has no outcome: one that is gone or idle is revived."""
        scheduled = await amend_job(
            self._store,
            job,
            lambda seen: jobs.schedule(seen, oldest.message, self._clock.now_ms(), oldest.id),
        )
        if scheduled is not job:
            self._telemetry.event("job_revived", job_id=scheduled.id, state=scheduled.state)
        return scheduled

    async def _resend(self, key: RequestKey) -> None:
        """Send a delivery's message again: it may be lost. The row moves on first: one sender wins."""
        request = await self._store.request_of(key.job_id, key.request_id)
        now_ms = self._clock.now_ms()
        if not self._overdue(request, now_ms):
            return
        result = await self._store.write_request(request, resend_delivery(request, now_ms))
        if isinstance(result, Written):
            overdue_s = delivery_overdue_ms(request, now_ms) / 1000
            self._telemetry.event("webhook_overdue", {"DeliveryOverdueS": overdue_s}, request_id=request.id)
            message = NotificationMessage(request.job_id, request.id, request.delivery.attempts)
            await self._notifications.send([message.encode()])

    @staticmethod
    def _overdue(request: Request | None, now_ms: int) -> TypeGuard[Request]:
        return request is not None and request.delivery_due and (request.due_ms or 0) <= now_ms
