"""One processor run: calls what is due, whenever a slot is free, until nothing is due soon.

Runs may overlap: every call is fenced and every slot is a conditional write, so there is no lock to lose.
"""

import asyncio
from dataclasses import dataclass, field

from calling.calls import Caller, NotStarted, StartedCall
from calling.outcomes import Outcomes
from calling.slots import Slots
from core import hints, scheduling
from core import window as windows
from core.config import CallSettings
from core.errors import InvalidMessage, Unavailable
from core.gate import Gate
from core.messages import decode_fresh
from core.places import DueKind
from core.scheduling import Due, Next
from core.window import Kind, Limits
from ports import Deployment, Ports, Queue, Received
from processor.keycheck import KeyCheck
from processor.sweep import Sweep

RUN_MS = 65_000
HORIZON_MS = 60_000
PAUSE_MIN_MS = 10
PAUSE_MAX_MS = 5_000
AWAKE_MS = 12_000
LAST_LOOK_MS = 1_000
AFTER_FAILURE_MS = 1_000
SKIP_MS = 2_000
SKIP_UNREADABLE_MS = 10_000
POLL_MIN_MS = 1_000  # a queue's wait is a whole number of seconds
ROWS_MAX = 100
MESSAGES_MAX = 10


@dataclass(slots=True)
class Work:
    """What is due, as seen at one moment: due now, and when the next thing will be."""

    fresh: list[Due] = field(default_factory=list)
    retries: list[Due] = field(default_factory=list)
    next_ms: int | None = None

    def remove(self, job_id: str) -> None:
        """Forget a job that was dealt with."""
        self.fresh = [due for due in self.fresh if due.job_id != job_id]
        self.retries = [due for due in self.retries if due.job_id != job_id]


@dataclass(frozen=True, slots=True)
class ProcessorPorts(Ports):
    """The world, as the processor needs it. `dead_letters`: of the fresh queue."""

    dead_letters: Queue
    deployment: Deployment


class Drain:
    """Runs the backlog down as fast as the window allows."""

    def __init__(
        self,
        ports: ProcessorPorts,
        slots: Slots,
        caller: Caller,
        outcomes: Outcomes,
        sweep: Sweep,
        key_check: KeyCheck,
        settings: CallSettings,
    ) -> None:
        self._store = ports.store
        self._queue = ports.fresh_queue
        self._clock = ports.clock
        self._telemetry = ports.telemetry
        self._dead_letters = ports.dead_letters
        self._slots = slots
        self._caller = caller
        self._outcomes = outcomes
        self._sweep = sweep
        self._key_check = key_check
        self._deployment = ports.deployment
        self._settings = settings
        self._calls: set[asyncio.Task[None]] = set()
        self._skipped_until_ms: dict[str, int] = {}
        self._old_retry_last = False
        self._awake_until_ms = 0
        # Short enough to notice in time what other instances and calls in flight have made due.
        self._pause_max_ms = min(PAUSE_MAX_MS, settings.retry_ms // 2, settings.limits.window_ms // 4)

    async def run(self, run_ms: int = RUN_MS) -> int:
        """Work until nothing is due soon or the time is up; return how many calls were made."""
        stop_ms = self._clock.monotonic_ms() + run_ms
        await self._apply_deployed_limits()
        try:
            return await self._work_until(stop_ms)
        finally:  # whatever ends a run: an instance that is frozen in the middle of a call tells nobody of it
            await asyncio.gather(*self._calls, return_exceptions=True)

    async def _work_until(self, stop_ms: int) -> int:
        made, messages, last_look = 0, list[Received](), False
        while self._clock.monotonic_ms() < stop_ms:
            try:
                gate = await self._slots.refresh()
                if self._relieved(gate) and not messages:
                    break
                started, next_ms = await self._round(gate, messages, leaving=last_look)
                made += started
                if next_ms is None and not self._calls:
                    if last_look:
                        break
                    last_look, messages = True, await self._look_once_more()
                else:
                    last_look, messages = False, await self._pause(next_ms, stop_ms)
            except Unavailable as error:
                self._telemetry.event("round_failed", {"RoundsFailed": 1}, reason=str(error))
                last_look, messages = False, []
                await self._clock.sleep_ms(AFTER_FAILURE_MS)
        return made

    async def _apply_deployed_limits(self) -> None:
        """A deployment that asks for other limits than the last one changes them, in one write.

        Instances of an older deployment may still run: each would undo the other's change.
        """
        limits = self._settings.limits
        gate = await self._slots.refresh()
        if not windows.wants_deployed(gate.window, limits) or not await self._are_deployed(limits):
            return
        await self._slots.amend(
            lambda gate: (
                windows.change_limits(gate.window, limits.calls, limits.window_ms, deployed=True)
                if windows.wants_deployed(gate.window, limits)
                else None
            )
        )

    async def _are_deployed(self, limits: Limits) -> bool:
        """Whether these limits are the latest deployment's; not if nobody can say."""
        try:
            return await self._deployment.limits() == limits
        except Unavailable as error:
            self._telemetry.event("limits_not_applied", reason=str(error))
            return False

    async def _round(self, gate: Gate, messages: list[Received], *, leaving: bool) -> tuple[int, int | None]:
        """Make every call that can be made now; return how many, and when to look again (None: not soon).

        Between the rounds that calls need, what the sweep finds waits for the longest pause: many at once.
        Messages only say "look now": once their jobs were looked at they are deleted, called or not, since
        the due index has every job that is still to be called.
        """
        if not leaving:
            await self._stay_awake(gate)
        await self._key_check.run()
        next_sweep_ms = await self._sweep.run()
        work = await self._look()
        receipts = await self._add_hinted(work, messages)
        started = await self._start_calls(work)
        if receipts:
            await self._queue.delete(receipts)
        now_ms = self._clock.now_ms()
        times_ms = self._next_calls_ms(work, now_ms)
        if next_sweep_ms is not None:
            times_ms.append(next_sweep_ms and max(next_sweep_ms, now_ms + self._pause_max_ms))
        return started, min((at_ms for at_ms in times_ms if at_ms <= now_ms + HORIZON_MS), default=None)

    def _relieved(self, gate: Gate) -> bool:
        """Whether another run began later and is at work: two would only race each other for slots.

        The API's mark reaches less far: that one may wake nobody.
        """
        others = gate.hints.awake_until_ms != self._awake_until_ms
        by_a_run = gate.hints.awake_until_ms > self._clock.now_ms() + hints.WAKE_MS
        return bool(self._awake_until_ms) and others and by_a_run

    async def _stay_awake(self, gate: Gate) -> None:
        """Tell the API that nobody needs to be woken, and an earlier run that this one has taken over."""
        now_ms = self._clock.now_ms()
        if not self._awake_until_ms or gate.hints.awake_until_ms < now_ms + AWAKE_MS // 2:
            self._awake_until_ms = now_ms + AWAKE_MS
            await self._slots.amend(
                lambda seen: windows.note(seen.window, awake_until_ms=self._awake_until_ms)
            )

    async def _look_once_more(self) -> list[Received]:
        """Before leaving: say so, then wait a moment for whoever had seen this run at work."""
        await self._slots.amend(lambda seen: hints.fall_asleep(seen.hints, seen.window, self._awake_until_ms))
        return await self._queue.receive(MESSAGES_MAX, LAST_LOOK_MS)

    async def _pause(self, next_ms: int | None, stop_ms: int) -> list[Received]:
        """Sleep until there may be something to do; from when a slot is free, wait at the fresh queue."""
        now_ms, mono_ms = self._clock.now_ms(), self._clock.monotonic_ms()
        next_ms = now_ms + self._pause_max_ms if next_ms is None else next_ms
        wait_ms = max(PAUSE_MIN_MS, min(self._pause_max_ms, next_ms - now_ms, stop_ms - mono_ms))
        gate, messages = self._slots.gate, list[Received]()
        if gate and not gate.paused:
            no_slot_ms = min(wait_ms, scheduling.slot_for_fresh_at_ms(gate, now_ms) - now_ms)
            await self._clock.sleep_ms(no_slot_ms)
            if wait_ms - no_slot_ms >= POLL_MIN_MS:
                messages = await self._queue.receive(MESSAGES_MAX, wait_ms - no_slot_ms)
        left_ms = mono_ms + wait_ms - self._clock.monotonic_ms()
        if not messages and left_ms > 0:
            await self._clock.sleep_ms(left_ms)
        return messages

    async def _look(self) -> Work:
        """Read the due index: what is due now, and the time of what is due next."""
        now_ms = self._clock.now_ms()
        fresh, retries = await asyncio.gather(
            self._store.due_jobs(DueKind.FRESH, now_ms + HORIZON_MS, ROWS_MAX),
            self._store.due_jobs(DueKind.RETRY, now_ms + HORIZON_MS, ROWS_MAX),
        )
        rows = fresh + retries
        later_ms = [due.due_ms for due in rows if due.due_ms > now_ms]
        skipped = {due.job_id for due in rows if self._skipped_until_ms.get(due.job_id, 0) > now_ms}
        later_ms += [self._skipped_until_ms[job_id] for job_id in skipped]
        return Work(
            [due for due in fresh if due.due_ms <= now_ms and due.job_id not in skipped],
            [due for due in retries if due.due_ms <= now_ms and due.job_id not in skipped],
            min(later_ms, default=None),
        )

    async def _add_hinted(self, work: Work, messages: list[Received]) -> list[str]:
        """Add the jobs that messages name and the index does not show yet; return the receipts to delete."""
        known = {due.job_id for due in work.fresh + work.retries}
        receipts = []
        for message in messages:
            receipts.append(message.receipt)
            try:
                job_id = decode_fresh(message.text).job_id
            except InvalidMessage as error:
                self._telemetry.event("dead_letter", {"DeadLetters": 1}, queue="fresh", reason=str(error))
                await self._dead_letters.send([message.text])
                continue
            job = None if job_id in known else await self._store.job(job_id)
            if job and job.callable_by_processor(self._clock.now_ms()):
                due = Due(job.id, job.due_ms or 0, job.oldest_ms)
                (work.retries if job.attempts else work.fresh).append(due)
                known.add(job_id)
        return receipts

    async def _start_calls(self, work: Work) -> int:
        """Begin calls in the order of the policy, until no slot is free or nothing is due."""
        started = 0
        while turn := self._turn(work):
            work.remove(turn.due.job_id)
            try:
                call = await self._start(turn)
            except Unavailable:  # if it is this job alone, the others go on without it
                self._skipped_until_ms[turn.due.job_id] = self._clock.now_ms() + SKIP_UNREADABLE_MS
                raise
            if isinstance(call, StartedCall):
                self._old_retry_last = turn.old_retry
                task = asyncio.create_task(self._caller.carry_out(call))
                self._calls.add(task)
                task.add_done_callback(self._calls.discard)
                started += 1
            elif call.denied is None:  # a stale row, or somebody else has it
                self._skipped_until_ms[turn.due.job_id] = self._clock.now_ms() + SKIP_MS
            else:
                self._put_back(work, turn)
        return started

    def _turn(self, work: Work) -> Next | None:
        """Whose turn it is, if a slot can be had for it as the window was last seen."""
        gate, now_ms = self._slots.gate, self._clock.now_ms()
        if gate is None or len(self._calls) >= gate.window.limits.calls:
            return None
        turn = scheduling.choose(
            work.fresh, work.retries, gate.window, now_ms, old_retry_last=self._old_retry_last
        )
        if turn is None:
            return None
        can_start = not gate.closed(now_ms) and gate.window.free_slots(now_ms) > turn.reserve
        return turn if can_start else None

    def _put_back(self, work: Work, turn: Next) -> None:
        (work.fresh if turn.kind is Kind.FRESH else work.retries).append(turn.due)

    def _next_calls_ms(self, work: Work, now_ms: int) -> list[int]:
        """When calls can be made: for what is due now and for what is due next. Each needs a slot."""
        gate = self._slots.gate
        if gate is None or gate.paused:
            return []
        times_ms = []
        if work.fresh:
            times_ms.append(scheduling.slot_for_fresh_at_ms(gate, now_ms))
        elif work.retries:
            times_ms.append(scheduling.slot_for_retry_at_ms(gate, now_ms))
        if work.next_ms is not None:
            times_ms.append(max(work.next_ms, scheduling.slot_for_fresh_at_ms(gate, now_ms)))
        return times_ms

    async def _start(self, turn: Next) -> StartedCall | NotStarted:
        """Fence and take, if the job is still due and an open request waits for it."""
        job, page = await self._store.load(turn.due.job_id)
        if job is None or not job.callable_by_processor(self._clock.now_ms()):
            return NotStarted(job)
        oldest = await self._outcomes.first_waiting(job, page)
        if oldest is None:
            await self._outcomes.park(job)
            return NotStarted(job)
        return await self._caller.start(
            job,
            job.message,
            turn.kind,
            request_id=oldest.id,
            call_limit_ms=self._settings.call_limit_ms,
            reserve=turn.reserve,
            oldest_ms=oldest.created_ms,
            open_from=job.open_from if oldest in page.requests[:1] else oldest.id,
        )
