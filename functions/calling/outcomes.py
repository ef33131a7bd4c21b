"""Closes the requests that wait for a job once it has an outcome, and notifies their callers.

The order is fixed: the outcome is written on the job, then the requests are closed, then the notifications
are sent. After a crash in between, the request is still on the due index, where the sweep finds it.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace

from calling import parking
from calling.conditional import amend_request
from calling.slots import Slots
from core import hints, scheduling
from core import request as requests
from core.config import CallSettings
from core.errors import Unavailable
from core.job import Job, JobState
from core.messages import NotificationMessage
from core.request import Request
from core.waiting import open_field_of
from ports import Page, Ports

BAD_GATEWAY = 502
GATEWAY_TIMEOUT = 504


class Outcomes:
    """Closes requests and sends their notifications."""

    def __init__(
        self,
        ports: Ports,
        slots: Slots,
        settings: CallSettings,
    ) -> None:
        self._store = ports.store
        self._notifications = ports.notifications
        self._clock = ports.clock
        self._telemetry = ports.telemetry
        self._slots = slots
        self._settings = settings

    async def finish(self, job_id: str) -> None:
        """Close every request that the job has an outcome for, page by page; park a job without open ones.

        Without an outcome the oldest requests are given up first. So the loop ends at the first page with a
        request that stays open: all later ones stay open too.
        """
        job, page = await self._store.load(job_id)
        while job:
            waiting = [request for request in page.requests if request.open]
            self._judge_estimates(job, waiting)
            closing = [(request, self.outcome(job, request, after_call=True)) for request in waiting]
            await self.close([(request, after) for request, after in closing if after])
            if not all(after for _, after in closing):
                return
            if page.next_id is None:
                await self.park(job)
                return
            page = await self._store.page(job_id, page.next_id)

    def _judge_estimates(self, job: Job, waiting: Sequence[Request]) -> None:
        """Compare the times that callers were told with the actual end of the first call."""
        now_ms = self._clock.now_ms()
        errors_ms = [
            abs(now_ms - request.estimated_ms)
            for request in waiting
            if request.estimated_ms and job.attempts == request.attempts_before + 1
        ]
        if errors_ms:
            self._telemetry.event("first_call_ended", {"EtaErrorMs": max(errors_ms)}, job_id=job.id)

    async def park(self, job: Job) -> None:
        """Take a job without open requests off the schedule."""
        if parked := await parking.park(self._store, job, self._clock.now_ms()):
            await self.leave_queue(parked)

    async def leave_queue(self, parked: Job) -> None:
        """Take a parked job out of its caller's count. While a job is counted, no new one is called at once.

        If the write fails, the processor corrects the count.
        """
        queue = parked.queue
        if queue is None or (parked.due_ms or 0) > self._clock.now_ms():  # it was not counted
            return
        with contextlib.suppress(Unavailable):
            await self._slots.amend(lambda gate: hints.leave(gate.window, gate.waiting, queue))

    async def write_counts(self) -> None:
        """Write the counts of the requests that were closed, if no other write has carried them."""
        await self._slots.write_counts()

    def outcome(self, job: Job, request: Request, *, after_call: bool) -> Request | None:
        """Return the request, closed with the job's outcome or given up; None if it stays open.

        A request is given up only after a call, never because the service did not run for a while. A 429
        counts as a call for every message that waits.
        """
        now_ms, calls = self._clock.now_ms(), request.calls_of(job)
        request = requests.plausible(request, now_ms)
        if job.outcome and not job.answers(request.created_ms, self._settings.signature_ttl_ms):
            return None
        if job.signature:
            return requests.close_signed(request, job.signature, now_ms, calls=calls)
        if job.state is JobState.REFUSED:
            reason = f"upstream_refused_{job.refusal}"
            return requests.close_failed(request, BAD_GATEWAY, reason, now_ms, calls=calls)
        age_ms, age_max_ms, gate = self._age_ms(request, now_ms), self._settings.age_max_ms, self._slots.gate
        limited = gate is not None and gate.window.limited_after(now_ms - age_ms + age_max_ms, now_ms)
        if job.call_live(now_ms) or not (after_call or limited):
            return None
        given_up = scheduling.give_up(
            job.attempts - request.attempts_before,
            age_ms,
            attempts_max=self._settings.attempts_max,
            age_max_ms=age_max_ms,
        )
        return self._given_up(job, request, given_up) if given_up else None

    def _age_ms(self, request: Request, now_ms: int) -> int:
        """How long a request has waited, except while a suspected key or a pause stopped all calls."""
        gate = self._slots.gate
        key_blocked_ms = gate.key.key_blocked_ms if gate else request.key_blocked_ms
        return now_ms - request.created_ms - max(0, key_blocked_ms - request.key_blocked_ms)

    async def first_waiting(self, job: Job, page: Page) -> Request | None:
        """Before a call: return the oldest request that waits for it, and close those without calls left.

        The last call may have been the API's, after which no request was given up. A call under way is not
        counted: the one that began it may still undo its fence.
        """
        while True:
            exhausted = list[tuple[Request, Request]]()
            waiting = None
            for request in page.requests:
                if request.open and job.attempts - request.attempts_before < self._settings.attempts_max:
                    waiting = waiting or request
                elif request.open:
                    exhausted.append((request, self._given_up(job, request, scheduling.GivingUp.ATTEMPTS)))
            await self.close(exhausted)
            if waiting or page.next_id is None:
                return waiting
            page = await self._store.page(job.id, page.next_id)

    def _given_up(self, job: Job, request: Request, why: scheduling.GivingUp) -> Request:
        status = BAD_GATEWAY if why is scheduling.GivingUp.ATTEMPTS else GATEWAY_TIMEOUT
        return requests.close_failed(request, status, why, self._clock.now_ms(), calls=request.calls_of(job))

    async def close(self, changes: Sequence[tuple[Request, Request]]) -> None:
        """Write closed requests, then send their notifications; not for those that another run closed."""
        results = await asyncio.gather(
            *(self._close(before, after) for before, after in changes), return_exceptions=True
        )
        closed = [result for result in results if isinstance(result, Request)]
        for request in closed:
            self._report(request)
            self._slots.count_later({open_field_of(request.client): -1})
        await self.notify([request for request in closed if request.delivery_due])
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:  # these requests are still on the due index
            raise failures[0]

    async def _close(self, before: Request, after: Request) -> Request | None:
        """Write one closed request; None if another run closed it.

        A sweep may have changed it meanwhile: its `due_ms`, and attributes of a newer version, which stay.
        """

        def closed(seen: Request) -> Request | None:
            return replace(after, others=seen.others) if seen.open else None

        return await amend_request(self._store, before, closed)

    def _report(self, request: Request) -> None:
        took_ms = request.closed_ms - request.created_ms
        self._telemetry.event(
            "request_closed",
            {"TimeToOutcomeMs": took_ms, f"Requests{request.state.title()}": 1},
            request_id=request.id,
            job_id=request.job_id,
            state=request.state,
            reason=request.failure.reason if request.failure else "",
        )

    async def notify(self, requests: Sequence[Request]) -> None:
        """Send the notifications of closed requests. The sweep sends a lost one again."""
        texts = [
            NotificationMessage(request.job_id, request.id, request.delivery.attempts).encode()
            for request in requests
        ]
        try:
            await self._notifications.send(texts)
        except Unavailable as error:
            self._telemetry.event("notify_failed", count=len(texts), reason=str(error))
