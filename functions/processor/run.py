"""A run: make the calls that are due, sweep the due index, set the next wake-up, and end.

A run does not wait for long: it goes on while a call is in flight, or while the next one may be made within
`ON_MS`. For a later call it sets a wake-up. Runs may overlap without a lock: every call is fenced, and every
slot is taken by a conditional write.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from calling.calls import Caller, NotStarted, StartedCall
from calling.outcomes import Outcomes
from calling.slots import Slots
from calling.wakeups import WakeUps
from core import clocks
from core import job as jobs
from core.config import CallSettings
from core.errors import Unavailable, Unreadable, described
from core.job import Job
from core.messages import WakeUp
from core.scheduling import Next
from ports import Deployment, Ports
from processor import limits
from processor.backoff import UNREACHED_MS_MAX, Backoff
from processor.counts import SURE_MS, Counts
from processor.due import ROWS_MAX, DueJobs
from processor.keycheck import KeyCheck
from processor.open_counts import OpenCounts
from processor.sweep import Sweep

FUNCTION_LIMIT_MS = 110_000
"""The function's time limit, as the template has it."""
END_MS = 8_000
"""How long a run needs after its last answer, to record it and to set the next wake-up."""
RUN_MS_MAX = 60_000
ON_MS = 2_000
BEHIND_MS = 150
PAUSE_MIN_MS = 10
LOOK_MS = 5_000
AFTER_FAILURE_MS = 1_000
FAILURES_MAX = 5
UNREADABLE_MS = 10_000


@dataclass(frozen=True, slots=True)
class ProcessorPorts(Ports):
    """The ports of the processor."""

    deployment: Deployment


def run_limit_ms(settings: CallSettings) -> int:
    """How long a run may start calls. The last one must end and be recorded within the function's limit."""
    call_ms = settings.timing.send_limit_ms + settings.call_limit_ms
    return min(RUN_MS_MAX, FUNCTION_LIMIT_MS - call_ms - END_MS)


class Run:
    """One invocation of the processor."""

    def __init__(
        self,
        ports: ProcessorPorts,
        slots: Slots,
        caller: Caller,
        outcomes: Outcomes,
        sweep: Sweep,
        key_check: KeyCheck,
        backoff: Backoff,
        counts: Counts,
        open_counts: OpenCounts,
        settings: CallSettings,
    ) -> None:
        self._ports = ports
        self._store = ports.store
        self._clock = ports.clock
        self._telemetry = ports.telemetry
        self._slots = slots
        self._caller = caller
        self._outcomes = outcomes
        self._sweep = sweep
        self._key_check = key_check
        self._backoff = backoff
        self._counts = counts
        self._open_counts = open_counts
        self._wake_ups = WakeUps(ports, slots)
        self._due = DueJobs(ports.store, ports.clock, backoff)
        self._settings = settings
        self._calls: set[asyncio.Task[Job | None]] = set()
        self._lost_race = False
        self._stop_ms = ports.clock.monotonic_ms() + run_limit_ms(settings)

    async def run(self, wake_ups: Sequence[WakeUp] = ()) -> int:
        """Work until nothing is due soon or the time is up; return how many calls were made.

        Without wake-ups it is the schedule's run, which also sweeps.
        """
        await self._wait_for_wake_up(wake_ups)
        sweeps = [] if wake_ups else [asyncio.create_task(self._sweep_and_log())]
        try:
            made = await self._work(wake_ups)
        finally:  # also after an error: else the results of calls in flight would not be recorded
            await asyncio.gather(*sweeps, *self._calls, return_exceptions=True)
        await self._set_wake_up()
        await self._slots.write_counts()
        return made

    async def _wait_for_wake_up(self, wake_ups: Sequence[WakeUp]) -> None:
        """Wait until the wake-up's time: queue delays have whole seconds, so the message came a little early.

        Earlier, the due index may not show a job yet that was left to this wake-up.
        """
        now_ms = self._clock.now_ms()
        ahead_ms = [wake_up.at_ms - now_ms for wake_up in wake_ups]
        await self._clock.sleep_ms(max((left for left in ahead_ms if 0 < left <= ON_MS), default=0))

    async def _work(self, wake_ups: Sequence[WakeUp]) -> int:
        made, failures, named = 0, 0, {wake_up.job_id for wake_up in wake_ups if wake_up.job_id}
        while True:
            try:
                made += await self._round(named)
                failures, named = 0, set()
            except Unavailable as error:
                self._telemetry.event("round_failed", {"RoundsFailed": 1}, reason=str(error))
                failures += 1
                await self._clock.sleep_ms(AFTER_FAILURE_MS)
            if not await self._wait_for_next(failures):
                return made

    async def _round(self, named: set[str]) -> int:
        """Read what is due, and start every call that may be made now; return how many were started."""
        await self._slots.recent(LOOK_MS)
        await limits.apply_deployed(
            self._slots, self._settings.limits, self._ports.deployment, self._telemetry
        )
        await self._slots.amend(lambda gate: clocks.bounded(gate, self._clock.now_ms()))
        await self._key_check.run()
        gate = self._slots.gate or await self._slots.refresh()
        await asyncio.gather(self._due.look(gate, LOOK_MS), self._due.name(named))
        await self._counts.correct(self._slots, self._clock, gate, self._due.listed, ROWS_MAX)
        started = await self._start_calls()
        while self._due.used_up and self._clock.monotonic_ms() < self._stop_ms:
            await self._due.look(self._slots.gate or gate, LOOK_MS)
            started += await self._start_calls()
        return started

    async def _wait_for_next(self, failures: int) -> bool:
        """Wait until a call ends or the next one may be made; return whether the run goes on."""
        left_ms = self._stop_ms - self._clock.monotonic_ms()
        if left_ms <= 0 or failures >= FAILURES_MAX:
            return False
        next_call = self._due.next_call(self._slots.gate) if self._slots.gate else None
        wait_ms = max(PAUSE_MIN_MS, next_call[0] - self._clock.now_ms()) if next_call else LOOK_MS
        if self._calls:
            timeout_s = min(wait_ms, left_ms, LOOK_MS) / 1000
            await asyncio.wait(self._calls, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            return True
        if failures:
            return True
        if next_call is None or wait_ms > min(ON_MS, left_ms):
            return False
        await self._clock.sleep_ms(wait_ms)
        if self._lost_race:
            await self._give_way()
        return True

    async def _give_way(self) -> None:
        """Let the other run have the slot that is free now: a race for each slot costs more than it gains."""
        await self._clock.sleep_ms(BEHIND_MS)
        await self._slots.refresh()

    async def _start_calls(self) -> int:
        """Start calls concurrently, in `core.scheduling`'s order, until no slot is free or none is due."""
        started = 0
        while turns := self._turns():
            retries_left = self._due.retries_left(turns)
            results = await asyncio.gather(
                *(self._start(turn, aim, retries_left) for aim, turn in enumerate(turns)),
                return_exceptions=True,
            )
            progress = [self._record_start(turn, result) for turn, result in zip(turns, results, strict=True)]
            begun = sum(isinstance(result, StartedCall) for result in results)
            denied = any(isinstance(result, NotStarted) and result.denied for result in results)
            started, self._lost_race = started + begun, denied and not begun
            if not any(progress):
                break
        return started

    def _turns(self) -> list[Next]:
        gate = self._slots.gate
        if gate is None or self._clock.monotonic_ms() >= self._stop_ms:
            return []
        calls_max = gate.window.limits.calls - len(self._calls)
        return self._due.turns(gate, calls_max=calls_max, late_ms=self._settings.late_ms)

    def _record_start(self, turn: Next, result: StartedCall | NotStarted | BaseException) -> bool:
        """Record the result of one start; return whether anything changed."""
        job_id = turn.due.job_id
        if isinstance(result, Exception):
            self._skip(job_id, result)
            return True
        if isinstance(result, BaseException):
            raise result
        self._backoff.forget(job_id)
        if isinstance(result, StartedCall):
            self._due.drop(job_id)
            task = asyncio.create_task(self._caller.carry_out(result))
            self._calls.add(task)
            task.add_done_callback(self._remember_result)
            return True
        if result.denied is None:  # a stale row, or another call has the job
            self._due.drop(job_id)
            if result.job:
                self._due.keep(result.job)
        return result.denied is None

    def _skip(self, job_id: str, error: Exception) -> None:
        """Skip a job that can't be read or that raises an error, so that the other jobs are still called."""
        now_ms = self._clock.now_ms()
        if isinstance(error, Unavailable) and not isinstance(error, Unreadable):
            self._backoff.hold(job_id, now_ms, AFTER_FAILURE_MS, UNREACHED_MS_MAX)
            metrics = {"RoundsFailed": 1}
        else:
            self._backoff.hold(job_id, now_ms, UNREADABLE_MS)
            metrics = {"Unreadable": 1}
        self._telemetry.event("job_skipped", metrics, job_id=job_id, reason=described(error))

    def _remember_result(self, task: asyncio.Task[Job | None]) -> None:
        """Remember the job if it will be called again: the due index may not show that yet."""
        self._calls.discard(task)
        if not task.cancelled() and not task.exception() and (job := task.result()):
            self._due.keep(job)

    async def _start(self, turn: Next, aim: int, retries_left: int) -> StartedCall | NotStarted:
        """Start the call (fence, then slot), if the job is still due and an open request waits for it."""
        job, page = await self._store.load(turn.due.job_id)
        job = jobs.plausible(job, self._clock.now_ms()) if job else None
        if job is None or not job.callable_by_processor(self._clock.now_ms()):
            return NotStarted(job)
        oldest = await self._outcomes.first_waiting(job, page)
        if oldest is None:
            await self._outcomes.park(job)
            return NotStarted(None)
        clients = {request.client for request in page.requests if request.open}
        gate = self._slots.gate
        job = jobs.in_shortest_queue(job, clients, gate.open_requests if gate else {})
        return await self._caller.start(
            job,
            job.message,
            turn.kind,
            request_id=oldest.id,
            call_limit_ms=self._settings.call_limit_ms,
            reserve=turn.reserve,
            aim=aim,
            oldest_ms=oldest.created_ms,
            open_from=oldest.id,
            hints={**turn.hints, "retries_due": retries_left},
        )

    async def _sweep_and_log(self) -> None:
        try:
            await self._sweep.run(self._stop_ms)
            await self._sweep.correct(self._stop_ms)
            await self._open_counts.correct(self._slots, self._clock, self._store)
        except Unavailable as error:  # the remaining rows are still due
            self._telemetry.event("not_swept", {"SweepFailures": 1}, reason=str(error))
        except Exception as error:  # noqa: BLE001 - nobody reads this task's result, so log its error here
            self._telemetry.event("not_swept", {"Unreadable": 1}, reason=described(error))

    async def _set_wake_up(self) -> None:
        """Set the next wake-up. If that fails, the schedule starts a run each minute."""
        gate = self._slots.gate
        next_call = self._due.next_call(gate) if gate else None
        if next_call is None and self._counts.hold_up_newcomers:
            next_call = self._clock.now_ms() + SURE_MS, ""  # to correct them
        if next_call is None:
            return
        at_ms, job_id = next_call
        try:
            await self._wake_ups.leave(job_id, at_ms)
        except Unavailable as error:
            self._telemetry.event("wake_up_not_sent", reason=str(error))
