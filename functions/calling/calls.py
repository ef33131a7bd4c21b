"""One upstream call, from its fence to the notifications. Only this module asks the upstream to sign.

start      fence the job (nobody else calls it), then take a slot of the window
send       the one HTTP request
complete   settle the slot and, at the same time, write the outcome on the job
carry_out  send and complete, then close the requests that waited and notify their callers
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from calling.conditional import amend
from calling.outcomes import Outcomes
from calling.slots import Lease, Slots
from core import job as jobs
from core import key_guard, scheduling
from core import window as windows
from core.answers import Answer, Meaning
from core.config import CallSettings
from core.errors import Unavailable, described
from core.job import Job, Waiter
from core.window import FieldValue, Kind, NotBefore
from ports import Ports, Written


@dataclass(frozen=True, slots=True)
class StartedCall:
    """A call that may be sent: the job is fenced and a slot is leased.

    `before`: the job before the fence. `request_id`: the oldest request that waits for the call.
    """

    before: Job | None
    fenced: Job
    lease: Lease
    call_limit_ms: int
    may_send: Callable[[], bool]
    request_id: str

    @property
    def logged(self) -> dict[str, Any]:
        """The fields that every log line of this call has."""
        return {"job_id": self.fenced.id, "request_id": self.request_id}


@dataclass(frozen=True, slots=True)
class NotStarted:
    """No call was begun: another call has the job (`job`: as stored now), or no slot is free (`denied`)."""

    job: Job | None
    denied: NotBefore | None = None


class Caller:
    """Starts calls, sends them, and completes them."""

    def __init__(self, ports: Ports, slots: Slots, outcomes: Outcomes, settings: CallSettings) -> None:
        self._jobs = ports.store
        self._upstream = ports.upstream
        self._clock = ports.clock
        self._randomness = ports.randomness
        self._telemetry = ports.telemetry
        self._slots = slots
        self._outcomes = outcomes
        self._settings = settings

    async def start(
        self,
        before: Job | None,
        message: str,
        kind: Kind,
        *,
        request_id: str,
        call_limit_ms: int,
        reserve: int = 0,
        aim: int = 0,
        oldest_ms: int | None = None,
        open_from: str | None = None,
        hints: Mapping[str, FieldValue] | None = None,
    ) -> StartedCall | NotStarted:
        """Fence the job, then take a slot. Without a slot the fence is undone. Raises `Unavailable`.

        If the window can't be written, the fence is undone; if that fails too, it expires.
        """
        mono_ms, queue = self._clock.monotonic_ms(), before.queue if before else None
        fence = self._fence(before, message, call_limit_ms, oldest_ms, open_from)
        result = await self._jobs.write_job(before, fence)
        if not isinstance(result, Written):
            return NotStarted(result.record)
        fenced = result.record
        try:
            lease = await self._slots.take(kind, call_limit_ms, reserve, aim, hints=hints, queue=queue)
        except Unavailable:
            await self._unfence(before, fenced)
            raise
        if isinstance(lease, NotBefore):
            await self._unfence(before, fenced)
            return NotStarted(before, lease)
        may_send = self._slots.may_send(lease, since_mono_ms=mono_ms)
        return StartedCall(before, fenced, lease, call_limit_ms, may_send, request_id)

    def _fence(
        self, job: Job | None, message: str, call_limit_ms: int, oldest_ms: int | None, open_from: str | None
    ) -> Job:
        timing, now_ms = self._settings.timing, self._clock.now_ms()
        return jobs.fence(
            job or jobs.new_job(message, now_ms),
            self._randomness.token(),
            now_ms,
            call_for_ms=timing.send_limit_ms + call_limit_ms + timing.margin_ms,
            retry_ms=self._settings.retry_ms,
            oldest_ms=oldest_ms,
            open_from=open_from,
        )

    async def cancel(self, call: StartedCall, *, waiter: Waiter | None = None) -> Job | None:
        """Cancel a call before it is sent: restore the job and the slot. Return the job.

        `waiter`: a request that was accepted during the call and waits for the job.
        """
        self._telemetry.event("call_cancelled", {"SlotsTaken": 1}, **call.logged)
        job, _ = await asyncio.gather(
            self._unfence(call.before, call.fenced, waiter=waiter),
            self._settle(call, Answer(Meaning.NEVER_SENT)),
        )
        return job

    async def _unfence(self, before: Job | None, fenced: Job, *, waiter: Waiter | None = None) -> Job | None:
        """Undo a fence and return the job as it is stored then; an expired fence is not undone."""
        now_ms = self._clock.now_ms()

        def decide(current: Job | None) -> Job | None:
            same_call = current and current.call == fenced.call and current.call_live(now_ms)
            return jobs.without_call(current, before, now_ms, waiter) if current and same_call else None

        return (await amend(fenced, decide, self._jobs.write_job)).record

    async def send(self, call: StartedCall) -> Answer:
        """Send the one HTTP request. Errors are returned as an `Answer` too; none is raised."""
        answer = await self._upstream.sign(
            call.fenced.message, call_limit_ms=call.call_limit_ms, may_send=call.may_send
        )
        answer = self._judge_key_refusal(call, answer)
        self._telemetry.event(
            "upstream_call",
            {"SlotsTaken": 1, "UpstreamCalls": 1, f"Upstream{answer.meaning.title().replace('_', '')}": 1},
            **call.logged,
            meaning=answer.meaning,
            status=answer.status,
            reason=answer.reason if answer.meaning is not Meaning.SIGNED else "",
            latency_ms=answer.latency_ms,
            attempt=call.fenced.attempts + 1,
        )
        return answer

    def _judge_key_refusal(self, call: StartedCall, answer: Answer) -> Answer:
        """Decide whether a 401 or 403 refuses the key or only this message."""
        gate = self._slots.gate
        if answer.meaning is not Meaning.KEY_REFUSED or gate is None:
            return answer
        refused = gate.key.refuses_message(call.fenced.key_refused_ms, call.lease.permit.taken_at_ms)
        return replace(answer, meaning=Meaning.REFUSED) if refused else answer

    async def complete(
        self, call: StartedCall, answer: Answer, *, waiter: Waiter | None = None
    ) -> Job | None:
        """Settle the slot and, at the same time, record the answer on the job. Return the job as stored.

        Requests that were accepted during the call are closed too. `waiter`: the request that this call was
        begun for. Raises `Unavailable` if the answer can't be recorded. A slot that can't be settled stays
        leased.
        """
        job, settled = await asyncio.gather(
            self._record(call, answer, waiter=waiter),
            self._settle(call, answer, at_once=True),
            return_exceptions=True,
        )
        if isinstance(settled, BaseException):
            raise settled
        if isinstance(job, BaseException):
            raise job
        if job and job.outcome and job.open_from != call.fenced.open_from:  # scheduled during the call
            await self._outcomes.finish(job.id)
            await self._slots.write_counts()
        return job

    async def carry_out(self, call: StartedCall) -> Job | None:
        """Send a call and complete it, close the requests that waited for it, and notify their callers.

        Returns the job as stored; None if it is not known.
        """
        try:
            answer = await self.send(call)
            job, _ = await asyncio.gather(self._record_and_close(call, answer), self._settle(call, answer))
        except Exception as error:  # noqa: BLE001 - nobody awaits this task; fence and lease expire
            self._telemetry.event("call_lost", {"CallsLost": 1}, **call.logged, reason=described(error))
            return None
        return job

    async def _record_and_close(self, call: StartedCall, answer: Answer) -> Job | None:
        """Record the answer on the job, then close the requests: in this order, so that none is lost."""
        job = None
        try:
            job = await self._record(call, answer)
            if job is not None and answer.meaning is not Meaning.KEY_REFUSED:
                await self._outcomes.finish(job.id)
        except Unavailable as error:  # every open request stays on the due index; the sweep finds it
            self._telemetry.event("requests_not_closed", **call.logged, reason=str(error))
        return job

    async def _record(self, call: StartedCall, answer: Answer, *, waiter: Waiter | None = None) -> Job | None:
        """Write the result of a call on its job and return the job as stored.

        If the write is refused, or may or may not have happened, the job is read and the write is decided
        again. Raises `Unavailable` if that fails too.
        """
        result = await amend(
            call.fenced,
            lambda current: self._recorded(current, call, answer, waiter=waiter),
            self._jobs.write_job,
            read=lambda: self._jobs.job(call.fenced.id),
        )
        return result.record

    def _recorded(
        self, current: Job | None, call: StartedCall, answer: Answer, *, waiter: Waiter | None
    ) -> Job | None:
        """Return the job to write; None if this call changes nothing on it."""
        now_ms = self._clock.now_ms()
        if answer.meaning is Meaning.SIGNED:
            job = current or call.fenced
            return None if job.signature else jobs.signed(job, answer.signature, now_ms)
        if current is None or current.call != call.fenced.call:
            return None
        if answer.meaning is Meaning.REFUSED:
            return jobs.refused(current, answer.status, now_ms)
        if self._cut_off(call, answer):  # the job stays fresh, so it does not wait behind the fresh ones
            return jobs.failed(current, now_ms, now_ms, counted=False, waiter=waiter)
        # No request waits for longer than `age_max_ms`, so a longer outage does not make its retries rarer.
        failing_since_ms = max(current.failing_since_ms or now_ms, now_ms - self._settings.age_max_ms)
        next_try_ms = scheduling.retry_at_ms(
            now_ms, failing_since_ms, self._settings.retry_ms, self._randomness.fraction()
        )
        key_refused = answer.meaning is Meaning.KEY_REFUSED
        if key_refused:
            next_try_ms = min(next_try_ms, now_ms + key_guard.TRY_AGAIN_MS)
        counted = self.counts(call, answer)
        failed = jobs.failed(current, now_ms, next_try_ms, counted=counted, waiter=waiter, error=answer.error)
        return jobs.with_key_refused(failed, now_ms) if key_refused else failed

    def counts(self, call: StartedCall, answer: Answer) -> bool:
        """Whether the call counts as an attempt. If it does, the job's next call is a retry."""
        counted = answer.counted or answer.meaning is Meaning.KEY_REFUSED
        return counted and not self._cut_off(call, answer)

    def _cut_off(self, call: StartedCall, answer: Answer) -> bool:
        """Whether the API's short time limit ended the call: that says nothing about the message."""
        shortened = call.call_limit_ms < self._settings.call_limit_ms
        return shortened and answer.meaning is Meaning.UNANSWERED

    async def _settle(self, call: StartedCall, answer: Answer, *, at_once: bool = False) -> None:
        """Settle the slot in the window. If that fails, the slot stays leased, which is always safe."""
        try:
            await self._slots.settle(call.lease, answer, at_once=at_once)
            await self._pause_if_asked(call, answer)
        except Unavailable as error:
            self._telemetry.event("settle_failed", **call.logged, reason=str(error))

    async def _pause_if_asked(self, call: StartedCall, answer: Answer) -> None:
        """Stop all calls for a while after a 429, or if the answer makes the key suspected."""
        now_ms = self._clock.now_ms()
        if answer.meaning is Meaning.LIMITED:
            until_ms = now_ms + (answer.retry_after_ms or call.lease.permit.limits.window_ms)
            await self._slots.amend(lambda gate: windows.block(gate.window, now_ms, until_ms))
        elif answer.meaning is Meaning.KEY_REFUSED:
            await self._slots.amend(
                lambda gate: key_guard.suspect(gate.key, gate.window, call.lease.permit.taken_at_ms, now_ms)
            )
