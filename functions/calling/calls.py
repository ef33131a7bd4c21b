"""One upstream call, from the fence on the job to the settled slot. Only this calls the upstream to sign."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from calling.conditional import amend
from calling.slots import Lease, Slots
from core import job as jobs
from core import key_guard
from core import window as windows
from core.answers import Answer, Meaning
from core.config import CallSettings
from core.errors import Unavailable
from core.job import Job
from core.window import Kind, NotBefore
from ports import Clock, JobStore, Randomness, Telemetry, Upstream, Written


@dataclass(frozen=True, slots=True)
class Begun:
    """A call that may be sent: the job is fenced and a slot is leased. `before`: what the fence replaced."""

    before: Job | None
    fenced: Job
    lease: Lease
    call_limit_ms: int
    may_send: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class NotBegun:
    """No call: another one holds the job (`job` is how it is now), or no slot is to be had (`denied`)."""

    job: Job | None
    denied: NotBefore | None = None


async def undo(
    store: JobStore, before: Job | None, fenced: Job, now_ms: int, *, wanted: bool = False
) -> Job | None:
    """Take a fence back and return the job as it is then; an expired one stays, and counts as a call."""

    def decide(current: Job | None) -> Job | None:
        ours = current and current.call == fenced.call and current.call_live(now_ms)
        return jobs.without_call(current, before, now_ms, wanted=wanted) if current and ours else None

    return (await amend(fenced, decide, store.write_job)).record


class Caller:
    """Begins calls, sends them, and settles their slots."""

    def __init__(
        self,
        store: JobStore,
        slots: Slots,
        upstream: Upstream,
        clock: Clock,
        randomness: Randomness,
        telemetry: Telemetry,
        settings: CallSettings,
    ) -> None:
        self._store = store
        self.slots = slots
        self._upstream = upstream
        self._clock = clock
        self._randomness = randomness
        self._telemetry = telemetry
        self._settings = settings

    async def begin(
        self,
        before: Job | None,
        message: str,
        kind: Kind,
        *,
        call_limit_ms: int,
        reserve: int = 0,
        oldest_ms: int | None = None,
        hints: dict[str, int] | None = None,
    ) -> Begun | NotBegun:
        """Fence the job, then take a slot; without one the fence is undone. Raises `Unavailable`.

        After `Unavailable` the fence, if it landed, stands until it expires, and counts as a call.
        """
        timing = self._settings.timing
        mono_ms, now_ms = self._clock.monotonic_ms(), self._clock.now_ms()
        fenced = jobs.fence(
            before or jobs.new_job(message, now_ms),
            self._randomness.token(),
            now_ms,
            call_for_ms=timing.send_limit_ms + call_limit_ms + timing.margin_ms,
            retry_ms=self._settings.retry_ms,
            oldest_ms=oldest_ms,
        )
        result = await self._store.write_job(before, fenced)
        if not isinstance(result, Written):
            return NotBegun(result.record)
        fenced = result.record
        lease = await self.slots.take(kind, call_limit_ms, reserve=reserve, hints=hints)
        if isinstance(lease, NotBefore):
            await undo(self._store, before, fenced, self._clock.now_ms())
            return NotBegun(before, lease)
        return Begun(before, fenced, lease, call_limit_ms, self.slots.may_send(lease, since_mono_ms=mono_ms))

    async def cancel(self, begun: Begun, *, wanted: bool = False) -> Job | None:
        """Give up a call before it is sent, and return the job: it and the slot are what they were.

        `wanted`: a request was accepted meanwhile that waits for it.
        """
        self._telemetry.event("call_cancelled", {"SlotsTaken": 1}, job_id=begun.fenced.id)
        never_sent = Answer(Meaning.NEVER_SENT)
        job, _ = await asyncio.gather(
            undo(self._store, begun.before, begun.fenced, self._clock.now_ms(), wanted=wanted),
            self.settle(begun, never_sent),
        )
        return job

    async def send(self, begun: Begun, *, request_id: str = "") -> Answer:
        """Send the one HTTP request. Whatever happens is an `Answer`.

        `request_id`: the caller who waits for it, if one does.
        """
        answer = await self._upstream.sign(
            begun.fenced.message, call_limit_ms=begun.call_limit_ms, may_send=begun.may_send
        )
        answer = self._understood(begun.fenced, answer)
        self._telemetry.event(
            "upstream_call",
            {"SlotsTaken": 1, "UpstreamCalls": 1, f"Upstream{answer.meaning.title().replace('_', '')}": 1},
            request_id=request_id,
            job_id=begun.fenced.id,
            meaning=answer.meaning,
            status=answer.status,
            reason=answer.reason,
            latency_ms=answer.latency_ms,
            attempt=begun.fenced.attempts,
        )
        return answer

    def _understood(self, job: Job, answer: Answer) -> Answer:
        """Tell a message that the upstream refuses from a key that it refuses."""
        gate = self.slots.gate
        if answer.meaning is not Meaning.KEY_REFUSED or gate is None:
            return answer
        refused = gate.key.refuses_message(job.id, self._clock.now_ms())
        return replace(answer, meaning=Meaning.REFUSED) if refused else answer

    async def settle(self, begun: Begun, answer: Answer) -> None:
        """Tell the window what the answer proves. If that fails, the lease stands: nothing is risked."""
        try:
            await self.slots.settle(begun.lease, answer)
            await self._heed(begun, answer)
        except Unavailable as error:
            self._telemetry.event("settle_failed", job_id=begun.fenced.id, reason=str(error))

    async def _heed(self, begun: Begun, answer: Answer) -> None:
        """Stop all calls for a while where the answer says so."""
        now_ms = self._clock.now_ms()
        if answer.meaning is Meaning.LIMITED:
            pause_ms = answer.retry_after_ms or begun.lease.permit.limits.window_ms
            await self.slots.amend(lambda gate: windows.block(gate.window, now_ms + pause_ms))
        elif answer.meaning is Meaning.KEY_REFUSED:
            await self.slots.amend(
                lambda gate: key_guard.suspect(gate.key, gate.window, begun.fenced.id, now_ms)
            )
