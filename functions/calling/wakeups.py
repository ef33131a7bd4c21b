"""Sets wake-ups: queue messages that start a processor run when there is something to do."""

from collections.abc import Mapping

from calling.slots import Slots
from core import hints, scheduling
from core.gate import Gate
from core.job import Job
from core.messages import WakeUp
from core.window import Change
from ports import Ports

AHEAD_MAX_MS = 90_000
"""Nothing is sent for work that is due later: the schedule starts a run each minute."""


class WakeUps:
    """Sends a wake-up, unless one that was sent before arrives in time."""

    def __init__(self, ports: Ports, slots: Slots) -> None:
        self._queue = ports.work_queue
        self._clock = ports.clock
        self._slots = slots

    async def leave_job(self, job: Job, counts: Mapping[str, int]) -> None:
        """Set a wake-up for a scheduled job. Raises `Unavailable`: then a scheduled run finds the job.

        `counts`: what to add to counts of waiting jobs, by field name, in the same write.
        """
        gate = self._slots.gate or await self._slots.refresh()
        now_ms, fresh = self._clock.now_ms(), not job.attempts
        at_ms = scheduling.next_call_at_ms(gate, now_ms, job.due_ms or now_ms, fresh=fresh)
        await self.leave(job.id, at_ms, counts)

    async def leave(self, job_id: str, at_ms: int | None, counts: Mapping[str, int] | None = None) -> None:
        """Set a wake-up for `at_ms`; None: only change the counts. Raises `Unavailable`.

        The message names the job, because its run may come before the due index shows it.
        """
        now_ms, needed = self._clock.now_ms(), False
        at_ms = at_ms if at_ms is not None and at_ms <= now_ms + AHEAD_MAX_MS else None
        # One that is this near can't serve others (see `hints.wake_up_needed`), so it is not written.
        soon = at_ms is not None and at_ms < now_ms + hints.TRUST_MIN_MS

        def decide(gate: Gate) -> Change | None:
            nonlocal needed
            needed = at_ms is not None and hints.wake_up_needed(gate.hints, now_ms, at_ms)
            written_ms = None if soon else at_ms
            return hints.announce(gate.hints, gate.window, now_ms, at_ms=written_ms, counts=counts or {})

        await self._slots.amend(decide)
        if needed and at_ms is not None:
            delay_ms = max(0, at_ms - now_ms) // 1000 * 1000  # whole seconds; the run waits for the rest
            await self._queue.send([WakeUp(job_id, at_ms).encode()], delay_ms=delay_ms)
