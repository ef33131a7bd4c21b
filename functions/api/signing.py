"""The two-second contract: a signature if there is time, else a durable acceptance, else the reason."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar

from calling.calls import Caller, NotStarted, StartedCall
from calling.conditional import amend_job
from calling.slots import Slots
from calling.wakeups import WakeUps
from core import admission, hints, scheduling, waiting
from core import job as jobs
from core import request as requests
from core.answers import Answer, Meaning
from core.config import CallSettings
from core.errors import Unavailable
from core.gate import Gate
from core.job import Job, Waiter
from core.request import LOOK_MS, Request, first_look_ms
from core.scheduling import Inline
from core.window import Change, Kind
from ports import Ports, Written
from web.deadline import DURABLE_MS, Deadline

MESSAGE_WAITERS_MAX = 1_000
IN_FLIGHT_MAX = 10
"""On Lambda an instance has one request at a time. A server has many; more would slow each other down."""
NOTIFY_LIMIT_S = 0.5
UNAVAILABLE_RETRY_MS = 1_000
LIVE_CALL_RETRY_MS = 1_000
CHECK_COUNTS_MS = 5_000

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Ask:
    """What a caller wants. `keep`: accept it without a webhook too; the caller then polls its status.

    `repeated`: an earlier request with this id may be stored.
    """

    request_id: str
    client: str
    message: str
    webhook_url: str = ""
    keep: bool = False
    reference: str = ""
    repeated: bool = False

    @property
    def may_wait(self) -> bool:
        """Whether it can be accepted, and answered later."""
        return bool(self.webhook_url) or self.keep


class Reason(StrEnum):
    """Why there is no signature now."""

    LIMIT = "limit-reached"
    IN_PROGRESS = "call-in-progress"
    UPSTREAM_LIMITED = "upstream-limited"
    PAUSED = "paused"
    BACKLOG = "backlog-too-long"
    CLIENT_BACKLOG = "client-backlog-full"
    MESSAGE_WAITERS = "message-waiters-full"
    CLIENT_REQUESTS = "client-requests-full"
    UPSTREAM_FAILED = "upstream-failed"
    UPSTREAM_SLOW = "upstream-too-slow"
    REFUSED = "upstream-refused"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Signed:
    """The signature, now."""

    signature: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The request is stored. `ready_at_ms`: when its next call should have ended; None if not known."""

    request: Request
    ready_at_ms: int | None
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Declined:
    """Nothing was signed or accepted. `upstream_status`: the status with which it refused this message."""

    reason: Reason
    retry_after_ms: int | None = None
    upstream_status: int | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state when the request came. `gate`: None if it can't be read in time.

    `look_ms`: how long the reads took; a durable write should take about as long.
    """

    job: Job | None
    gate: Gate | None
    look_ms: int


@dataclass(frozen=True, slots=True)
class FailedCall:
    """An inline call without a signature, still to be completed. `answer`: None if it was not sent."""

    call: StartedCall
    answer: Answer | None


class Signing:
    """Answers one request."""

    def __init__(self, ports: Ports, slots: Slots, caller: Caller, settings: CallSettings) -> None:
        self._store = ports.store
        self._clock = ports.clock
        self._telemetry = ports.telemetry
        self._slots = slots
        self._caller = caller
        self._wake_ups = WakeUps(ports, slots)
        self._settings = settings
        self._turns = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._accepted_unseen = 0

    async def sign(self, ask: Ask, deadline: Deadline) -> Signed | Accepted | Declined:
        """Answer within the deadline, also if dependencies fail."""
        try:
            async with asyncio.timeout(deadline.left_s(reserve_ms=DURABLE_MS)):
                await self._turns.acquire()
            try:
                seen = await self._read_snapshot(ask, deadline)
                if ask.repeated and (stored := await self._stored(ask, seen, deadline)):
                    return stored
                result = await self._answer_or_start(ask, seen, deadline)
                if not isinstance(result, StartedCall):
                    return await self._finish(ask, seen, result, deadline)
            finally:
                self._turns.release()
            # The turn is released before the call: others must not wait for it, and the window limits calls.
            return await self._finish(ask, seen, await self._call(ask, result, deadline), deadline)
        except (Unavailable, TimeoutError) as error:
            self._telemetry.event("unavailable", request_id=ask.request_id, reason=str(error) or "timeout")
            return Declined(Reason.UNAVAILABLE, UNAVAILABLE_RETRY_MS)

    async def _stored(self, ask: Ask, seen: Snapshot, deadline: Deadline) -> Signed | Accepted | None:
        """Return the answer of a request that is stored: what refuses new ones does not concern it."""
        async with asyncio.timeout(deadline.left_s()):
            request = await self._store.request(ask.request_id)
        if request is None:
            return None
        return Signed(request.signature) if request.signature else self._accepted(request, seen, seen.job)

    async def _finish(
        self, ask: Ask, seen: Snapshot, result: Signed | Declined | FailedCall, deadline: Deadline
    ) -> Signed | Accepted | Declined:
        """Return the answer that is known, or accept the request."""
        if isinstance(result, Signed | Declined) and not self._may_wait(ask, result):
            return result
        failed = result if isinstance(result, FailedCall) else None
        return await self._accept(ask, seen, failed, deadline)

    @staticmethod
    def _may_wait(ask: Ask, result: Signed | Declined) -> bool:
        return ask.may_wait and isinstance(result, Declined) and result.reason is not Reason.REFUSED

    async def _read_snapshot(self, ask: Ask, deadline: Deadline) -> Snapshot:
        """Read the job, then the gate unless the job has an outcome: a known signature costs one read."""
        began_ms = self._clock.monotonic_ms()
        # After a cold start little time may be left: then the reads get half of it, and the write the rest.
        limit_s = max(deadline.left_s(reserve_ms=DURABLE_MS), deadline.left_s() / 2)
        async with asyncio.timeout(limit_s):
            job = self._plausible(await self._store.job(jobs.job_id(ask.message)))
            known = job and job.outcome_is_fresh(self._clock.now_ms(), self._settings.signature_ttl_ms)
            gate = None if known else await _if_readable(self._slots.refresh, limit_s / 2)
        return Snapshot(job, gate, self._clock.monotonic_ms() - began_ms)

    def _plausible(self, job: Job | None) -> Job | None:
        return jobs.plausible(job, self._clock.now_ms()) if job else None

    async def _answer_or_start(
        self, ask: Ask, seen: Snapshot, deadline: Deadline
    ) -> Signed | Declined | StartedCall | FailedCall:
        """Answer from what is known, or begin a call."""
        job, now_ms, ttl_ms = seen.job, self._clock.now_ms(), self._settings.signature_ttl_ms
        if job and (signature := job.fresh_signature(now_ms, ttl_ms)):
            return Signed(signature)
        if job and job.refuses(now_ms, ttl_ms):
            return Declined(Reason.REFUSED, upstream_status=job.refusal)
        if job and not job.callable_by_api(now_ms, ttl_ms):
            return self._why_wait(ask, job, seen, now_ms)
        if seen.gate is None:  # without the window no call may be made
            return Declined(Reason.UNAVAILABLE, UNAVAILABLE_RETRY_MS)
        time_left_ms = deadline.left_ms(reserve_ms=_reserve_ms(ask, seen))
        inline = scheduling.may_try_inline(seen.gate, now_ms, time_left_ms)
        if inline is Inline.OTHERS_WAIT and seen.gate.window.free_slots(now_ms):
            await self._check_counts(now_ms)
        if inline not in {Inline.YES, Inline.SLOW_PROBE}:
            return self._why_not_inline(ask, inline, seen, now_ms)
        return await self._start(ask, seen, inline, deadline)

    async def _check_counts(self, now_ms: int) -> None:
        """Have the processor look: jobs wait although a slot is free, or a crash left a count too high."""
        checking = self._wake_ups.leave("", now_ms + CHECK_COUNTS_MS)
        await self._best_effort("wake_up_not_sent", NOTIFY_LIMIT_S, checking)

    def _why_wait(self, ask: Ask, job: Job, seen: Snapshot, now_ms: int) -> Declined:
        """Return why a message that may not be called now has to wait."""
        if job.call_live(now_ms):
            return Declined(Reason.IN_PROGRESS, LIVE_CALL_RETRY_MS)
        if job.attempts or job.next_try_ms > now_ms:
            return Declined(Reason.UPSTREAM_FAILED, max(1, job.next_try_ms - now_ms))
        return Declined(Reason.LIMIT, self._ready_in_ms(ask, seen, now_ms))

    def _why_not_inline(self, ask: Ask, inline: Inline, seen: Snapshot, now_ms: int) -> Declined:
        if inline in {Inline.TOO_SLOW, Inline.NO_TIME}:
            return Declined(Reason.UPSTREAM_SLOW, self._settings.limits.window_ms)
        if inline is Inline.PAUSED:
            return Declined(Reason.PAUSED, self._settings.limits.window_ms)
        if inline is Inline.UPSTREAM_LIMITED:
            return Declined(Reason.UPSTREAM_LIMITED, self._ready_in_ms(ask, seen, now_ms))
        if inline is Inline.KEY_REFUSED:
            return Declined(Reason.UPSTREAM_FAILED, self._ready_in_ms(ask, seen, now_ms))
        return Declined(Reason.LIMIT, self._ready_in_ms(ask, seen, now_ms))

    def _ready_in_ms(self, ask: Ask, seen: Snapshot, now_ms: int) -> int:
        ready_at_ms = self._ready_at_ms(ask.client, seen, now_ms, None)
        return max(1, ready_at_ms - now_ms) if ready_at_ms else self._settings.limits.window_ms

    def _accepted(self, request: Request, seen: Snapshot, job: Job | None) -> Accepted:
        paused = seen.gate is not None and seen.gate.paused
        ready_at_ms = self._ready_at_ms(request.client, seen, self._clock.now_ms(), job)
        return Accepted(request, ready_at_ms, paused)

    def _ready_at_ms(self, client: str, seen: Snapshot, now_ms: int, job: Job | None) -> int | None:
        """When the next call for this message should have ended; None without a gate, or during a pause."""
        if seen.gate is None or seen.gate.paused:
            return None
        if job and job.attempts:
            retries_due = seen.gate.hints.retries_due
            return scheduling.retry_ready_at_ms(seen.gate, now_ms, retries_due, job.next_try_ms)
        ahead = waiting.ahead_of(seen.gate.waiting, client)
        return scheduling.ready_at_ms(seen.gate, now_ms, ahead, job.next_try_ms if job else 0)

    async def _call(self, ask: Ask, call: StartedCall, deadline: Deadline) -> Signed | Declined | FailedCall:
        """Call the upstream in the time that is left, keeping enough for a durable acceptance."""
        answer = await self._caller.send(call)
        if answer.meaning not in {Meaning.SIGNED, Meaning.REFUSED} and ask.may_wait:
            return FailedCall(call, answer)
        await self._complete(call, answer, deadline)
        if answer.meaning is Meaning.SIGNED:
            return Signed(answer.signature)
        return self._why_failed(answer)

    async def _start(
        self, ask: Ask, seen: Snapshot, inline: Inline, deadline: Deadline
    ) -> StartedCall | Signed | Declined | FailedCall:
        """Fence the job and take a slot.

        If that took so long that no answer is likely in time any more, nothing is sent, because a call that
        times out holds its slot for a whole lease. A request that may wait is accepted before the call is
        cancelled, so that the time for the acceptance is kept.
        """
        probed = {"slow_probe_at_ms": self._clock.now_ms()} if inline is Inline.SLOW_PROBE else None
        call_limit_ms = deadline.left_ms(reserve_ms=_reserve_ms(ask, seen))
        try:
            async with asyncio.timeout(call_limit_ms / 1000):
                call = await self._caller.start(
                    seen.job,
                    ask.message,
                    Kind.FRESH,
                    request_id=ask.request_id,
                    call_limit_ms=call_limit_ms,
                    hints=probed,
                )
        except (Unavailable, TimeoutError):  # a fence that was written is undone, or expires
            return Declined(Reason.UNAVAILABLE, UNAVAILABLE_RETRY_MS)
        if isinstance(call, NotStarted):
            return self._why_not_started(ask, call, seen)
        left_ms = deadline.left_ms(reserve_ms=_reserve_ms(ask, seen))
        expected_ms = (
            seen.gate.hints.latency_ms if seen.gate and inline is Inline.YES else scheduling.INLINE_MIN_MS
        )
        if left_ms < expected_ms:
            if ask.may_wait:
                return FailedCall(call, None)
            await self._best_effort("not_cancelled_in_time", deadline.left_s(), self._caller.cancel(call))
            return self._why_not_inline(ask, Inline.NO_TIME, seen, self._clock.now_ms())
        return replace(call, call_limit_ms=left_ms)

    def _why_not_started(self, ask: Ask, denied: NotStarted, seen: Snapshot) -> Signed | Declined:
        """Return the answer if another call took the job or the last slot after the snapshot was read."""
        now_ms, job = self._clock.now_ms(), self._plausible(denied.job)
        if denied.denied is None and job is not None:
            signature = job.fresh_signature(now_ms, self._settings.signature_ttl_ms)
            return Signed(signature) if signature else self._why_wait(ask, job, seen, now_ms)
        return Declined(Reason.LIMIT, self._ready_in_ms(ask, seen, now_ms))

    def _why_failed(self, answer: Answer) -> Declined:
        if answer.meaning is Meaning.REFUSED:
            return Declined(Reason.REFUSED, upstream_status=answer.status)
        if answer.meaning is Meaning.LIMITED:
            window_ms = self._settings.limits.window_ms
            return Declined(Reason.UPSTREAM_LIMITED, min(answer.retry_after_ms or window_ms, window_ms))
        slow = answer.meaning is Meaning.UNANSWERED
        return Declined(Reason.UPSTREAM_SLOW if slow else Reason.UPSTREAM_FAILED, self._settings.retry_ms)

    async def _accept(
        self, ask: Ask, seen: Snapshot, failed: FailedCall | None, deadline: Deadline
    ) -> Signed | Accepted | Declined:
        """Store the request, then schedule its job. After the write, no failure can take the 202 back."""
        now_ms = self._clock.now_ms()
        if failed is None and (full := await self._reached_limit(ask, seen, now_ms, deadline)):
            return Declined(full, self._settings.limits.window_ms)
        will_wait = self._will_wait(seen, failed)
        storing = self._put(self._request(ask, seen, now_ms), seen, failed, enters=will_wait)
        (request, scheduled), counted = await self._counted(storing, ask.client, deadline, enters=will_wait)
        self._telemetry.event("accepted", request_id=request.id, job_id=request.job_id)
        try:
            async with asyncio.timeout(deadline.left_s()):
                job = await self._attach(request, scheduled, seen, failed, entered=will_wait and counted)
        except (Unavailable, TimeoutError) as error:  # it is on the due index; the sweep finds it
            self._telemetry.event(
                "job_not_scheduled_in_time", request_id=ask.request_id, reason=str(error) or "timeout"
            )
            return self._accepted(request, seen, seen.job)
        now_ms = self._clock.now_ms()
        if signature := job.fresh_signature(now_ms, self._settings.signature_ttl_ms):
            # Answer 200 even if this write fails: if it was written without a reply, the request is closed
            # without a webhook, and a 202 would promise one.
            if request.open:  # else this is a repeated request, which was closed before
                calls = request.calls_of(job)
                closed = requests.close_signed(request, signature, now_ms, calls=calls, notify=False)
                await self._best_effort("not_closed_in_time", deadline.left_s(), self._close(request, closed))
            return Signed(signature)
        return self._accepted(request, seen, job)

    async def _put(
        self, request: Request, seen: Snapshot, failed: FailedCall | None, *, enters: bool
    ) -> tuple[Request, Job | None]:
        """Store the request and, in the same transaction, schedule its job: no crash comes between them.

        Return both as stored; None for a job that needs no change, or whose call is to be completed first.
        """
        job = self._scheduled(seen.job, request, self._waiter(request, seen))
        if failed or job is seen.job:
            return await self._store.accept(request), None
        due_ms = first_look_ms(request.created_ms, request.estimated_ms) if enters else request.due_ms
        return await self._store.accept_and_schedule(replace(request, due_ms=due_ms), seen.job, job)

    async def _counted(
        self, storing: Awaitable[Value], client: str, deadline: Deadline, *, enters: bool
    ) -> tuple[Value, bool]:
        """Store a request, and count it at the same time. If it can't be stored, the count is taken back.

        `enters`: its job enters its caller's queue, and is counted too. After a crash a count is too high for
        a while, which is safe. Return what is stored, and whether it is counted.
        """
        now_ms = self._clock.now_ms()
        counting = asyncio.create_task(
            self._count(lambda gate: hints.accept(gate.window, client, now_ms, enters=enters))
        )
        try:
            async with asyncio.timeout(deadline.left_s()):
                return await asyncio.gather(storing, counting)
        except Unavailable:
            async with asyncio.timeout(deadline.left_s()):
                if await counting:
                    await self._count(lambda gate: hints.take_back(gate.window, client, entered=enters))
            raise

    async def _count(self, decide: Callable[[Gate], Change]) -> bool:
        return await self._best_effort("not_counted", NOTIFY_LIMIT_S, self._slots.amend(decide))

    async def _close(self, request: Request, closed: Request) -> None:
        """Close a request that is answered now."""
        if isinstance(await self._store.write_request(request, closed), Written):
            self._slots.count_later({waiting.open_field_of(request.client): -1})
            await self._slots.write_counts()

    def _request(self, ask: Ask, seen: Snapshot, now_ms: int) -> Request:
        gate = seen.gate or self._slots.gate
        return Request(
            id=ask.request_id,
            job_id=jobs.job_id(ask.message),
            message=ask.message,
            client=ask.client,
            webhook_url=ask.webhook_url,
            reference=ask.reference,
            created_ms=now_ms,
            attempts_before=seen.job.attempts if seen.job else 0,
            key_blocked_ms=gate.key.key_blocked_ms if gate else 0,
            estimated_ms=self._ready_at_ms(ask.client, seen, now_ms, seen.job),
            due_ms=now_ms + LOOK_MS,
        )

    async def _reached_limit(
        self, ask: Ask, seen: Snapshot, now_ms: int, deadline: Deadline
    ) -> Reason | None:
        """Return the limit that does not let the request wait; None if it may wait."""
        if seen.gate:
            self._accepted_unseen = 0
            if seen.gate.open_requests.get(ask.client, 0) >= self._settings.client_requests_max:
                return Reason.CLIENT_REQUESTS
            if seen.job and seen.job.scheduled:  # the scheduled call serves this request too
                return await self._message_full(seen.job, seen.gate, deadline)
            full = admission.admits(seen.gate, ask.client, now_ms, self._settings)
            return Reason(full) if full else None
        admitted = admission.admits_unseen(self._slots.gate, self._accepted_unseen, now_ms, self._settings)
        if not admitted:
            return Reason.UNAVAILABLE
        self._accepted_unseen += 1
        return None

    async def _message_full(self, job: Job, gate: Gate, deadline: Deadline) -> Reason | None:
        """Return the limit that lets no more requests wait for this message; None if they may.

        The requests of a message are counted only if all callers together have enough open ones.
        """
        if sum(gate.open_requests.values()) < MESSAGE_WAITERS_MAX:
            return None
        waiters = await _if_readable(
            lambda: self._store.count_requests(job.id, job.open_from, MESSAGE_WAITERS_MAX),
            deadline.left_s(reserve_ms=DURABLE_MS) / 2,
        )
        if waiters is None:
            return Reason.UNAVAILABLE
        return Reason.MESSAGE_WAITERS if waiters == MESSAGE_WAITERS_MAX else None

    async def _attach(
        self,
        request: Request,
        scheduled: Job | None,
        seen: Snapshot,
        failed: FailedCall | None,
        *,
        entered: bool,
    ) -> Job:
        """Schedule the job of a request that was stored, unless that is done or it is signed; return it."""
        job, before = (scheduled, seen.job) if scheduled else await self._schedule(request, seen, failed)
        counts = self._counts(before, job, request.client, entered=entered)
        if counts or not job.fresh_signature(self._clock.now_ms(), self._settings.signature_ttl_ms):
            await self._notify_processor(job, counts)
        return job

    async def _schedule(
        self, request: Request, seen: Snapshot, failed: FailedCall | None
    ) -> tuple[Job, Job | None]:
        """Complete the request's call, and schedule its job; return the job as it is and as it was before."""
        waiter = self._waiter(request, seen)
        if failed and failed.answer is None:
            job = await self._caller.cancel(failed.call, waiter=waiter)
        elif failed and failed.answer:
            job = await self._caller.complete(failed.call, failed.answer, waiter=waiter)
        else:
            job = await self._store.job(request.job_id)
        before = failed.call.before if failed else job

        def decide(current: Job | None) -> Job:
            nonlocal before
            scheduled = self._scheduled(current, request, waiter)
            before = current if scheduled is not current else before
            return scheduled

        return await amend_job(self._store, job, decide), before

    def _waiter(self, request: Request, seen: Snapshot) -> Waiter:
        """Return the request as the job's waiter, and whether its caller's queue is the shorter one."""
        other = seen.job.client if seen.job else ""
        counts: Mapping[str, int] = {}
        if seen.gate:
            retrying = seen.job and seen.job.attempts
            counts = seen.gate.open_requests if retrying else seen.gate.waiting
        sooner = counts.get(request.client, 0) < counts.get(other, 0)
        return Waiter(request.id, request.client, sooner)

    def _scheduled(self, job: Job | None, request: Request, waiter: Waiter) -> Job:
        ttl_ms = self._settings.signature_ttl_ms
        return jobs.schedule(job, request.message, self._clock.now_ms(), waiter, outcome_ttl_ms=ttl_ms)

    def _will_wait(self, seen: Snapshot, failed: FailedCall | None) -> bool:
        """Whether the job will wait for its first call, in its caller's queue."""
        fresh = seen.gate and (seen.job is None or not (seen.job.scheduled or seen.job.attempts))
        called = failed and failed.answer and self._caller.counts(failed.call, failed.answer)
        return bool(fresh) and not called

    def _counts(self, before: Job | None, job: Job, client: str, *, entered: bool) -> dict[str, int]:
        """Return what to add to the counts, by field name. A job that is not due yet is not counted."""
        counts = {client: -1} if entered else {}
        queue = jobs.entered(before, job)
        if queue is not None:
            due = (job.due_ms or 0) <= self._clock.now_ms()
            change = 1 if due else 0
            counts[queue] = counts.get(queue, 0) + change
            if before and before.queue:  # it moved here from another caller's queue
                counts[before.queue] = counts.get(before.queue, 0) - change
        return {waiting.field_of(name): count for name, count in counts.items() if count}

    async def _notify_processor(self, job: Job, counts: dict[str, int]) -> None:
        """Set a wake-up for when the job may be called. If that fails, the scheduled run finds the job."""
        await self._best_effort("wake_up_not_sent", NOTIFY_LIMIT_S, self._wake_ups.leave_job(job, counts))

    async def _complete(self, call: StartedCall, answer: Answer, deadline: Deadline) -> None:
        """Complete a call in the time that is left; if that fails, its fence and lease expire."""
        await self._best_effort(
            "not_recorded_in_time", deadline.left_s(), self._caller.complete(call, answer)
        )

    async def _best_effort(self, failure: str, limit_s: float, step: Coroutine[Any, Any, object]) -> bool:
        """Carry out a step, for `limit_s` at most; say whether it succeeded. A failure is only logged."""
        try:
            async with asyncio.timeout(limit_s):
                await step
        except Exception as error:  # noqa: BLE001 - after the durable write nothing may take the answer back
            self._telemetry.event(failure, reason=str(error) or type(error).__name__)
            return False
        return True


def _reserve_ms(ask: Ask, seen: Snapshot) -> int:
    """How much time to keep for storing the request or the result: at least twice what the reads took."""
    return max(DURABLE_MS, 2 * seen.look_ms) if ask.may_wait else DURABLE_MS


async def _if_readable(read: Callable[[], Awaitable[Value]], limit_s: float) -> Value | None:
    """Return what `read` returns; None if it fails or takes longer than `limit_s`."""
    try:
        async with asyncio.timeout(limit_s):
            return await read()
    except (Unavailable, TimeoutError):
        return None
