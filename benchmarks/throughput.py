"""`python -m benchmarks.throughput`: how fast the processor works where time is short or work is much.

The real processor in virtual time, each DynamoDB call taking 5 ms:

- N = 100 and W = 1 s: the calls made, as a share of those that the limit allows;
- a job that comes while 2,000 requests for one message are due to be looked at: when its call begins;
- 60 messages with outages, W = 6 s, while runs are killed in mid-work: when the last one is signed.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from benchmarks.relay import SETTINGS, answered
from core import hints
from core import job as jobs
from core import window as windows
from core.answers import Answer, Meaning
from core.config import CallSettings
from core.gate import Gate
from core.messages import WakeUp, decode_wake_up
from core.request import Request
from core.window import Limits
from ports import Received
from processor.run import ProcessorPorts
from processor.wiring import assemble
from proofs.simulation.faults import Instance, adopt_tasks
from proofs.simulation.virtual_time import VirtualClock, run
from tests.component.world import Silent, Slow
from tests.fakes.deployment import FakeDeployment
from tests.fakes.memory import MemoryJobStore, MemoryQueue, MemoryTable, MemoryWindow, MemoryWindowStore

DATABASE_MS = 5
CALL_MS = 150
RUNS_MAX = 2
START_MS = 50
DENSE = replace(SETTINGS, limits=Limits(100, 1_000))
DENSE_S = 14
"""Ten cycles of a slot, each of W, the call and the margin: a slot is used 1 / 1.4 of the time at best."""
DENSE_JOBS = 1_500
WAITERS = 2_000
SHORT = replace(SETTINGS, limits=Limits(10, 6_000), retry_ms=3_000, call_limit_ms=3_000)
MESSAGES = 60
OUTAGE_MS = (6_000, 30_000)
KILLS = 6
KILLED_AFTER_MS = (100, 4_000)


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured, and its target."""

    name: str
    measured: float
    target: float
    at_most: bool

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        return self.measured <= self.target if self.at_most else self.measured >= self.target


class Upstream:
    """Signs every message once its outage, which begins with its first call, is over."""

    def __init__(self, clock: VirtualClock, outage_ms: Callable[[], int] = lambda: 0) -> None:
        self._clock = clock
        self._outage_ms = outage_ms
        self._healthy_ms: dict[str, int] = {}
        self.calls = 0
        self.first_ms: dict[str, int] = {}
        self.signed_ms: dict[str, int] = {}

    async def sign(self, message: str, *, call_limit_ms: int, may_send: Callable[[], bool]) -> Answer:
        """Answer one call."""
        if not may_send():
            return Answer(Meaning.NEVER_SENT)
        now_ms = self._clock.now_ms()
        self.calls += 1
        self.first_ms.setdefault(message, now_ms)
        if message not in self._healthy_ms:
            self._healthy_ms[message] = now_ms + self._outage_ms()
        signed = self._healthy_ms[message] <= now_ms
        await self._clock.sleep_ms(min(CALL_MS, call_limit_ms))
        if signed:
            self.signed_ms.setdefault(message, self._clock.now_ms())
        return answered(self._clock, CALL_MS, signed=signed)

    async def probe(self, *, call_limit_ms: int, may_send: Callable[[], bool]) -> Answer:
        """No key is refused here."""
        raise AssertionError(f"{call_limit_ms}, {may_send}")


class World:
    """The processor, what starts it, and requests that are stored already."""

    def __init__(
        self, settings: CallSettings, upstream: Upstream, clock: VirtualClock, random: Random
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._random = random
        self._store = MemoryJobStore(MemoryTable())
        self._window = MemoryWindow(Gate(windows.empty(settings.limits)))
        self._window_store = MemoryWindowStore(self._window, lambda: Gate(windows.empty(settings.limits)))
        self._work_queue = MemoryQueue(clock, visibility_ms=660_000)
        self._kills_left = 0
        self._running: set[asyncio.Task[Any]] = set()
        self._ports = ProcessorPorts(
            store=Slow(self._store, clock, DATABASE_MS),  # type: ignore[arg-type]
            window_store=Slow(self._window_store, clock, DATABASE_MS),  # type: ignore[arg-type]
            upstream=upstream,
            work_queue=self._work_queue,
            notifications=MemoryQueue(clock),
            deployment=FakeDeployment(settings.limits),
            clock=clock,
            randomness=_Ids(random),
            telemetry=Silent(),
        )

    async def accept(self, number: int, message: str, *, due_in_ms: int = 3_600_000) -> None:
        """Store a request, with its job and its count as the API leaves them."""
        now_ms, client = self._clock.now_ms(), "caller"
        request_id = f"00000000-0000-7000-8000-{number:012}"
        job_id = jobs.job_id(message)
        hook = "https://receiver.example/hook"
        await self._store.accept(
            Request(request_id, job_id, message, client, hook, now_ms, due_ms=now_ms + due_in_ms)
        )
        before = await self._store.job(job_id)
        if before is None:
            waiter = jobs.Waiter(request_id, client)
            await self._store.write_job(None, jobs.schedule(None, message, now_ms, waiter))
            window = (await self._window_store.read()).window
            await self._window_store.apply(hints.enter(window, client, now_ms))

    async def work(self, schedule_s: float, *, kills: int = 0) -> None:
        """Start a run each `schedule_s`, and one for each batch of wake-ups; kill the first runs."""
        self._kills_left = kills
        self._start(self._map_events())
        while True:
            self._start(self._run([]))
            await asyncio.sleep(schedule_s)

    def _start(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _map_events(self) -> None:
        """The event source mapping: two runs at once."""
        free = asyncio.Semaphore(RUNS_MAX)
        while True:
            await free.acquire()
            if received := await self._work_queue.receive(10, 20_000):
                self._start(self._wake(received, free))
            else:
                free.release()

    async def _wake(self, received: list[Received], free: asyncio.Semaphore) -> None:
        if await self._run([decode_wake_up(message.text) for message in received]):
            await self._work_queue.delete([message.receipt for message in received])
        free.release()

    async def _run(self, wake_ups: list[WakeUp]) -> bool:
        """Make a run; return whether it ended by itself."""
        await self._clock.sleep_ms(START_MS)
        instance = Instance("processor", self._random)
        task = instance.start(assemble(self._ports, self._settings).run(wake_ups))
        if not self._kills_left:
            await task
            return True
        self._kills_left -= 1
        await asyncio.wait({task}, timeout=self._random.uniform(*KILLED_AFTER_MS) / 1000)
        if not task.done():
            instance.crash()
        return task.done() and not task.cancelled()


class _Ids:
    def __init__(self, random: Random) -> None:
        self._random = random

    def request_id(self, _now_ms: int) -> str:
        return f"{self._random.getrandbits(64):016x}"

    def token(self) -> str:
        return f"{self._random.getrandbits(64):016x}"

    def fraction(self) -> float:
        return self._random.random()


async def _dense() -> Figure:
    """Make as many calls as the limit allows, for a while."""
    clock, random = VirtualClock(), Random("dense")
    upstream = Upstream(clock)
    world = World(DENSE, upstream, clock, random)
    for number in range(DENSE_JOBS):
        await world.accept(number, f"message {number}")
    await _until(world.work(60), lambda: clock.monotonic_ms() >= DENSE_S * 1000)
    share = upstream.calls / (DENSE.limits.calls * DENSE_S)
    name = "N = 100, W = 1 s: share of the calls that the limit allows, % (71.4 is possible)"
    return Figure(name, 100 * share, 68, at_most=False)


async def _crowded() -> Figure:
    """Look at all requests for one message, and call another one."""
    clock, random = VirtualClock(), Random("crowded")
    upstream = Upstream(clock)
    world = World(SETTINGS, upstream, clock, random)
    for number in range(WAITERS):
        await world.accept(number, "wanted by many", due_in_ms=0)
    await world.accept(WAITERS, "alone")
    began_ms = clock.now_ms()
    await _until(world.work(60), lambda: "alone" in upstream.first_ms)
    waited_s = (upstream.first_ms["alone"] - began_ms) / 1000
    return Figure("2,000 requests for one message: the first call of another, s", waited_s, 2, at_most=True)


async def _killed(seed: int) -> Figure:
    """Drain a burst while runs are killed."""
    adopt_tasks(asyncio.get_running_loop())
    clock, random = VirtualClock(), Random(f"killed {seed}")
    upstream = Upstream(clock, lambda: random.choice((0, random.randint(*OUTAGE_MS))))
    world = World(SHORT, upstream, clock, random)
    for number in range(MESSAGES):
        await world.accept(number, f"message {number}")
    began_ms = clock.now_ms()
    schedule_s = SHORT.limits.window_ms / 1000
    await _until(world.work(schedule_s, kills=KILLS), lambda: len(upstream.signed_ms) == MESSAGES)
    drained_ms = max(upstream.signed_ms.values()) - began_ms
    return Figure(
        f"W = 6 s, {KILLS} runs killed: a burst of 60 is drained, s", drained_ms / 1000, 80, at_most=True
    )


async def _until(work: Awaitable[None], over: Callable[[], bool]) -> None:
    working = asyncio.ensure_future(work)
    while not over():  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(0.1)
    working.cancel()


def figures(seeds: int) -> list[Figure]:
    """Measure all; of the drain the worst of so many."""
    drains = [run(_killed(seed)) for seed in range(seeds)]
    return [run(_dense()), run(_crowded()), max(drains, key=lambda figure: figure.measured)]


def main() -> int:
    """Print the figures; 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    found = figures(parser.parse_args().seeds)
    print("| figure | measured | target |\n|---|--:|--:|")  # noqa: T201
    for figure in found:
        bound = f"{'at most' if figure.at_most else 'at least'} {figure.target:g}"
        print(f"| {figure.name} | {figure.measured:.1f} | {bound} |")  # noqa: T201
    return int(not all(figure.met for figure in found))


if __name__ == "__main__":
    sys.exit(main())
