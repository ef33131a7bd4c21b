"""What a call came to is written on its job, before anybody is told."""

from calling.calls import Begun, undo
from calling.conditional import amend
from core import job as jobs
from core import scheduling
from core.answers import Answer, Meaning
from core.config import CallSettings
from core.job import Job
from ports import Clock, JobStore, Randomness

BLAMELESS = frozenset({Meaning.LIMITED, Meaning.KEY_REFUSED})
"""Not this message's fault: it keeps its place, and the attempt does not count."""


class Recorder:
    """Writes the outcome of a call."""

    def __init__(self, store: JobStore, clock: Clock, randomness: Randomness, settings: CallSettings) -> None:
        self._store = store
        self._clock = clock
        self._randomness = randomness
        self._settings = settings

    async def record(self, begun: Begun, answer: Answer, *, wanted: bool = False) -> Job | None:
        """Write what the call came to on its job and return the job as it is then.

        `wanted`: a request was accepted meanwhile that waits for it. A refused write, or one whose fate is
        unknown, is followed by a read before anything is dropped. Raises `Unavailable` if that fails too.
        """
        if answer.meaning in BLAMELESS:
            now_ms = self._clock.now_ms()
            return await undo(self._store, begun.before, begun.fenced, now_ms, wanted=wanted)
        result = await amend(
            begun.fenced,
            lambda current: self._recorded(current, begun, answer, wanted=wanted),
            self._store.write_job,
            read=lambda: self._store.job(begun.fenced.id),
        )
        return result.record

    def _recorded(self, current: Job | None, begun: Begun, answer: Answer, *, wanted: bool) -> Job | None:
        """Return the job to write; None if there is nothing of this call's to write."""
        now_ms = self._clock.now_ms()
        if answer.meaning is Meaning.SIGNED:
            job = current or begun.fenced
            return None if job.signature else jobs.signed(job, answer.signature, now_ms)
        if current is None or current.call != begun.fenced.call:
            return None
        if answer.meaning is Meaning.REFUSED:
            return jobs.refused(current, answer.status, now_ms)
        next_try_ms = scheduling.retry_at_ms(
            now_ms, current.failing_since_ms or now_ms, self._settings.retry_ms, self._randomness.fraction()
        )
        return jobs.failed(current, now_ms, next_try_ms, counted=answer.counted, wanted=wanted)
