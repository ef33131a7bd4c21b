"""The real service in virtual time: API signing, core, processor loop; only the adapters are in memory."""

import asyncio
import base64
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from api.signing import Accepted, Ask, Signed, Signing
from api.wiring import ApiPorts
from api.wiring import assemble as assemble_api
from benchmarks.loads import CALL_S, CALLS_MAX, WINDOW_S, Message
from benchmarks.trace import Trace
from core import request as requests
from core import window as windows
from core.answers import Answer, Meaning
from core.config import CallSettings
from core.gate import Gate
from core.job import Job
from core.messages import NotificationMessage, WakeUp, decode_notification, decode_wake_up
from core.secrets import Secrets
from core.window import Change, Limits, Timing
from ports import Conflict, Received, Written
from processor.run import ProcessorPorts
from processor.wiring import assemble
from proofs.simulation.run import API_SETTINGS
from proofs.simulation.virtual_time import EPOCH_MS, VirtualClock, run
from tests.fakes.deployment import FakeDeployment
from tests.fakes.memory import (
    MemoryClaimStore,
    MemoryHistory,
    MemoryJobStore,
    MemoryQueue,
    MemoryTable,
    MemoryWindow,
    MemoryWindowStore,
)
from web.deadline import Deadline

SCHEDULE_S = 60
START_MS = 250
RUNS_MAX = 2
SIGNATURE = base64.b64encode(bytes(128)).decode()
NOTIFIED_TOGETHER = 10
SETTINGS = CallSettings(
    url="http://upstream",
    limits=Limits(CALLS_MAX, round(WINDOW_S * 1000)),
    timing=Timing(grace_ms=10_000, margin_ms=250),
    call_limit_ms=30_000,
    retry_ms=30_000,
    attempts_max=60,
    age_max_ms=21_600_000,
    signature_ttl_ms=3_600_000,
)


@dataclass(frozen=True, slots=True)
class Costs:
    """What one run has cost. Hints in the window (wake-up, fresh queued) are written apart from its slots.

    `sqs_requests`: sends, receives and deletes, the notifier's without its empty receives, where it gets one
    message at a time; `sqs_requests_batched`: the same where it gets ten.
    """

    window_writes: int
    window_notes: int
    window_conflicts: int
    sqs_requests: float
    sqs_requests_batched: float


@dataclass(frozen=True, slots=True)
class Relayed:
    """One run of the service."""

    trace: Trace
    eta_errors_s: list[float]
    costs: Costs


class _Randomness:
    def __init__(self, random: Random) -> None:
        self._random = random

    def request_id(self, _now_ms: int) -> str:
        return f"{self._random.getrandbits(64):016x}"

    def token(self) -> str:
        return f"{self._random.getrandbits(64):016x}"

    def fraction(self) -> float:
        return self._random.random()


class _Silence:
    def event(self, name: str, metrics: Mapping[str, float] | None = None, **fields: object) -> None:
        pass

    def about(self, **_fields: object) -> AbstractContextManager[None]:
        return nullcontext()


class _CountingWindowStore(MemoryWindowStore):
    """Tells the writes of slots from those of hints alone."""

    def __init__(self, item: MemoryWindow, missing: Callable[[], Gate]) -> None:
        super().__init__(item, missing)
        self.notes = 0

    async def apply(self, change: Change) -> Written[Gate] | Conflict[Gate]:
        self.notes += not change.slots
        return await super().apply(change)


class _WatchedJobStore(MemoryJobStore):
    """Remembers since when each message may be called."""

    def __init__(self, table: MemoryTable) -> None:
        super().__init__(table)
        self.due_s: dict[str, float] = {}

    async def write_job(self, before: Job | None, after: Job) -> Written[Job] | Conflict[Job]:
        result = await super().write_job(before, after)
        if isinstance(result, Written) and after.due_ms is not None and not after.call:
            self.due_s[after.message] = _seconds(after.due_ms)
        return result


def _seconds(at_ms: int) -> float:
    return (at_ms - EPOCH_MS) / 1000


@dataclass(slots=True)
class _Upstream:
    """The upstream as the service's port sees it; messages are named by their number."""

    trace: Trace
    store: _WatchedJobStore
    clock: VirtualClock
    left: int
    all_signed: asyncio.Event = field(default_factory=asyncio.Event)

    async def sign(self, message: str, *, call_limit_ms: int, may_send: Callable[[], bool]) -> Answer:
        if not may_send():
            return Answer(Meaning.NEVER_SENT)
        at_s = _seconds(self.clock.now_ms())
        signed = self.trace.call(int(message), self.store.due_s.get(message, at_s), at_s)
        latency_ms = min(round(CALL_S * 1000), call_limit_ms)
        await self.clock.sleep_ms(latency_ms)
        self.left -= signed
        if not self.left:
            self.all_signed.set()
        return answered(self.clock, latency_ms, signed=signed)

    async def probe(self, *, call_limit_ms: int, may_send: Callable[[], bool]) -> Answer:
        raise AssertionError(f"no key is refused here: {call_limit_ms}, {may_send}")


class _Service:
    """The functions on shared memory adapters, with what starts them."""

    def __init__(self, messages: Sequence[Message], random: Random) -> None:
        self.trace = Trace(messages, keeps_reserve=True)
        self.clock = VirtualClock()
        self.item = MemoryWindow(Gate(windows.empty(SETTINGS.limits)))
        self.window_store = _CountingWindowStore(self.item, lambda: Gate(windows.full(SETTINGS.limits, 0)))
        self.store = _WatchedJobStore(MemoryTable())
        self.work_queue = MemoryQueue(self.clock)
        self.notifications = MemoryQueue(self.clock)
        self.upstream = _Upstream(self.trace, self.store, self.clock, len(messages))
        self.randomness = _Randomness(random)
        self.eta_s: dict[int, float] = {}
        self.runs = self.billed_ms = 0
        self._notifier_requests = 0
        self._first_schedule_s = random.uniform(0, SCHEDULE_S)
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it beside everything else."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception():
            self.upstream.all_signed.set()  # the run is over: `stop` raises what went wrong
            self._tasks.add(task)

    async def stop(self) -> None:
        """End what is under way; raise what went wrong."""
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    async def schedule(self) -> None:
        """Start a processor run every minute."""
        await asyncio.sleep(self._first_schedule_s)
        while True:
            self.start(self._process([]))
            await asyncio.sleep(SCHEDULE_S)

    async def map_events(self) -> None:
        """Start a processor run for each batch of wake-ups, two at once, as the event source mapping does."""
        free = asyncio.Semaphore(RUNS_MAX)
        while True:
            await free.acquire()
            received = await self.work_queue.receive(NOTIFIED_TOGETHER, 20_000)
            if received:
                self.start(self._wake(received, free))
            else:
                free.release()

    async def _wake(self, received: Sequence[Received], free: asyncio.Semaphore) -> None:
        await self._process([decode_wake_up(message.text) for message in received])
        await self.work_queue.delete([message.receipt for message in received])
        free.release()

    async def _process(self, wake_ups: Sequence[WakeUp]) -> None:
        await self.clock.sleep_ms(START_MS)
        self.runs += 1
        began_ms = self.clock.monotonic_ms()
        await assemble(self._ports(), SETTINGS).run(wake_ups)
        self.billed_ms += self.clock.monotonic_ms() - began_ms

    def _ports(self) -> ProcessorPorts:
        return ProcessorPorts(
            store=self.store,
            window_store=self.window_store,
            upstream=self.upstream,
            work_queue=self.work_queue,
            notifications=self.notifications,
            deployment=FakeDeployment(SETTINGS.limits),
            clock=self.clock,
            randomness=self.randomness,
            telemetry=_Silence(),
        )

    async def notify(self) -> None:
        """Deliver every webhook at once, as the notifier function would to a good receiver."""
        while True:
            self._notifier_requests += 1
            received = await self.notifications.receive(NOTIFIED_TOGETHER, 20_000)
            for message in received:
                await self._deliver(decode_notification(message.text))
            self._notifier_requests += 1
            await self.notifications.delete([message.receipt for message in received])

    async def _deliver(self, message: NotificationMessage) -> None:
        request = await self.store.request_of(message.job_id, message.request_id)
        if request and request.delivery_due:
            await self.store.write_request(request, requests.delivered(request, self.clock.now_ms(), "200"))

    async def ask(self, number: int) -> None:
        """Send one request when its time has come."""
        await asyncio.sleep(self.trace.messages[number].arrives_s)
        ask = Ask(
            f"00000000-0000-7000-8000-{number:012}", "caller", str(number), "https://receiver.example/hook"
        )
        result = await self._signing().sign(ask, Deadline.of(self.clock, None))
        if isinstance(result, Signed):
            self.trace.at_once += 1
        elif isinstance(result, Accepted) and result.ready_at_ms and self.trace.first_s(number) is None:
            self.eta_s[number] = _seconds(result.ready_at_ms)
        elif not isinstance(result, Accepted):
            raise AssertionError(f"request {number} was declined: {result}")

    def _signing(self) -> Signing:
        """Return the signing of a new instance: on Lambda an instance has one request at a time."""
        ports = ApiPorts(
            store=self.store,
            window_store=self.window_store,
            upstream=self.upstream,
            work_queue=self.work_queue,
            notifications=self.notifications,
            clock=self.clock,
            randomness=self.randomness,
            telemetry=_Silence(),
            claims=MemoryClaimStore(),
            dead_letters={},
            history=MemoryHistory(),
            secrets=_no_secrets,
            checks={},
        )
        return assemble_api(ports, replace(API_SETTINGS, calls=SETTINGS)).signing

    def eta_errors_s(self) -> list[float]:
        """How far the promised end of each first call was from the true one; positive: it came later."""
        ended_s = {call.message: call.at_s + CALL_S for call in self.trace.calls if call.first}
        return [ended_s[number] - eta_s for number, eta_s in self.eta_s.items()]

    def costs(self) -> Costs:
        """Count what the run has cost."""
        notified = len(self.trace.messages) - self.trace.at_once
        sent = self.work_queue.requests + self.notifications.requests - self._notifier_requests
        return Costs(
            window_writes=self.item.writes - self.window_store.notes,
            window_notes=self.window_store.notes,
            window_conflicts=self.item.conflicts,
            sqs_requests=sent + 2 * notified,
            sqs_requests_batched=sent + 2 * notified / NOTIFIED_TOGETHER,
        )


def answered(clock: VirtualClock, latency_ms: int, *, signed: bool) -> Answer:
    """Return the upstream's answer, whose first byte arrives now: a signature, or its normal failure."""
    return Answer(
        Meaning.SIGNED if signed else Meaning.FAILED,
        status=200 if signed else 502,
        signature=SIGNATURE if signed else "",
        first_byte_mono_ms=clock.monotonic_ms(),
        latency_ms=latency_ms,
    )


async def _no_secrets() -> Secrets:
    raise NotImplementedError("callers come past the key check")


async def _serve(messages: Sequence[Message], random: Random) -> Relayed:
    service = _Service(messages, random)
    service.start(service.schedule())
    service.start(service.map_events())
    service.start(service.notify())
    for number in range(len(messages)):
        service.start(service.ask(number))
    await service.upstream.all_signed.wait()
    await asyncio.sleep(1)  # the last outcome is being recorded
    await service.stop()
    return Relayed(service.trace, service.eta_errors_s(), service.costs())


def relay(messages: Sequence[Message], random: Random) -> Relayed:
    """Serve a load with the real code, from an empty window."""
    return run(_serve(messages, random))
