"""Tells a message that the upstream refuses from a key that it refuses."""

from core import job as jobs
from core import window as windows
from core.answers import Meaning
from core.errors import Unavailable
from core.window import Kind, NotBefore
from ports import Clock, JobStore, Telemetry, Upstream, Written
from service.outcomes import Outcomes
from service.slots import Slots

UNAUTHORIZED = 401


class KeyCheck:
    """Probes the upstream's root path, through the window, W after a 401 or 403."""

    def __init__(
        self,
        store: JobStore,
        slots: Slots,
        upstream: Upstream,
        outcomes: Outcomes,
        clock: Clock,
        telemetry: Telemetry,
        *,
        call_limit_ms: int,
    ) -> None:
        self._store = store
        self._slots = slots
        self._upstream = upstream
        self._outcomes = outcomes
        self._clock = clock
        self._telemetry = telemetry
        self._call_limit_ms = call_limit_ms
        self._claim_ms = slots.timing.send_limit_ms + call_limit_ms + slots.timing.margin_ms

    async def run(self) -> None:
        """Probe if it is time. A good key: that message is refused. Else calls stay blocked for W more."""
        window, now_ms = self._slots.window, self._clock.now_ms()
        claim = windows.claim_probe(window, now_ms, self._claim_ms) if window else None
        if window is None or claim is None or not await self._slots.try_once(claim):
            return
        lease = await self._slots.take(Kind.PROBE, self._call_limit_ms)
        if isinstance(lease, NotBefore):
            return
        answer = await self._upstream.probe(
            call_limit_ms=self._call_limit_ms, may_send=self._slots.may_send(lease)
        )
        await self._slots.settle(lease, answer)
        good = answer.meaning is Meaning.WELCOME
        self._telemetry.event(
            "key_probed", {"KeyRefused": int(not good)}, meaning=answer.meaning, status=answer.status
        )
        if good:
            await self._refuse(window.suspect_job)
            await self._slots.amend(windows.clear_suspicion)
        else:
            now_ms = self._clock.now_ms()
            await self._slots.amend(lambda seen: windows.suspect_further(seen, now_ms))

    async def _refuse(self, job_id: str) -> None:
        """Record that the upstream will not sign this message, and tell whoever waits for it."""
        job = await self._store.job(job_id)
        while job and not job.signature and not job.call_live(self._clock.now_ms()):
            result = await self._store.write_job(job, jobs.refused(job, UNAUTHORIZED, self._clock.now_ms()))
            if isinstance(result, Written):
                break
            job = result.record
        try:
            await self._outcomes.finish(job_id)
        except Unavailable as error:
            self._telemetry.event("outcome_not_told", job_id=job_id, reason=str(error))
