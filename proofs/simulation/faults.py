"""Instances that crash and freeze, and the proxies in front of every port at which things go wrong."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import ContextVar
from enum import Enum, auto
from random import Random
from typing import Any

from core.errors import Unavailable
from ports import Received
from proofs.simulation.plan import MARGIN_MS, Plan, Rates
from proofs.simulation.virtual_time import EPOCH_MS, VirtualClock
from tests.fakes.memory import MemoryQueue

USUAL_MS = (1, 12)
SLOW_MS = (100, 1_000)
FREEZE_MS = (1_000, 60_000)
CRASH_DURING_MS = (1, 4_000)
STILL_LANDS = 0.5
QUIET = Rates()
INDEX_METHODS = frozenset({"due_jobs", "due_requests", "ended", "own", "count_before"})

Trace = Callable[..., None]
CURRENT: "ContextVar[Instance | None]" = ContextVar("instance", default=None)


class InstanceClock(VirtualClock):
    """The clock of one host; a frozen host sleeps on."""

    def __init__(self, instance: "Instance", skew_ms: int) -> None:
        super().__init__(skew_ms)
        self._instance = instance

    async def sleep_ms(self, duration_ms: int) -> None:
        """Let virtual time pass, and the frost."""
        await super().sleep_ms(duration_ms)
        await self._instance.thawed()


class Instance:
    """One running copy of a function: its host's clock, and its tasks, which a crash ends all at once."""

    def __init__(self, name: str, rng: Random, *, wrong_by_ms: int = 0) -> None:
        self.name = name
        self.dead = False
        self.newer = False
        self.wrong_clock = bool(wrong_by_ms)
        self.clock = InstanceClock(self, rng.randint(-MARGIN_MS // 2, MARGIN_MS // 2) + wrong_by_ms)
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._frozen_until_s = 0.0

    def start(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run some work on this instance; whatever tasks it starts are this instance's too."""
        token = CURRENT.set(self)
        try:
            return asyncio.get_running_loop().create_task(work)
        finally:
            CURRENT.reset(token)

    def adopt(self, task: "asyncio.Task[Any]") -> None:
        """End this task with the instance."""
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None) and None)

    def crash(self) -> None:
        """End every task wherever it is; nothing is cleaned up, since every port is closed to the dead."""
        self.dead = True
        for task in list(self._tasks):
            task.cancel()

    def freeze(self, duration_ms: int) -> None:
        """Stand still: no port call begins or ends until then."""
        self._frozen_until_s = asyncio.get_running_loop().time() + duration_ms / 1000

    def was_frozen(self, since_ms: int) -> bool:
        """Whether it stood still at any time since then: no host can keep a deadline that way."""
        return EPOCH_MS + self._frozen_until_s * 1000 >= since_ms

    async def thawed(self) -> None:
        """Wait until the instance moves; a dead one never goes on."""
        left_s = self._frozen_until_s - asyncio.get_running_loop().time()
        if left_s > 0:
            await asyncio.sleep(left_s)
        if self.dead:
            raise asyncio.CancelledError


def adopt_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Have every new task belong to the instance that starts it."""

    def make(
        loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **kwargs: Any
    ) -> "asyncio.Task[Any]":
        task = asyncio.Task(work, loop=loop, **kwargs)
        if instance := CURRENT.get():
            instance.adopt(task)
        return task

    loop.set_task_factory(make)  # type: ignore[arg-type]


class Fate(Enum):
    """What becomes of one port call."""

    FINE = auto()
    SLOW = auto()
    ERROR = auto()
    LOST = auto()
    CRASH_BEFORE = auto()
    CRASH_AFTER = auto()
    CRASH_DURING = auto()
    FREEZE = auto()


class Faults:
    """Decides what goes wrong, until the faults end."""

    def __init__(self, plan: Plan, rng: Random) -> None:
        self._plan = plan
        self.rng = rng
        self.counts: dict[str, int] = {}

    @property
    def rates(self) -> Rates:
        """The rates as they are now."""
        return self._plan.rates if _elapsed_ms() < self._plan.faults_end_ms else QUIET

    def fate(self, port: str) -> Fate:
        """Draw what becomes of a call to this port."""
        fate = Fate.ERROR if self.down(port) else self._draw()
        if fate is not Fate.FINE:
            self.counts[fate.name.lower()] = self.counts.get(fate.name.lower(), 0) + 1
        return fate

    def _draw(self) -> Fate:
        rates = self.rates
        if rates is QUIET:
            return Fate.FINE
        chance = self.rng.random()
        for fate, rate in (
            (Fate.ERROR, rates.error),
            (Fate.LOST, rates.lost),
            (Fate.SLOW, rates.slow),
            (Fate.FREEZE, rates.freeze),
            (Fate.CRASH_BEFORE, rates.crash / 3),
            (Fate.CRASH_AFTER, rates.crash / 3),
            (Fate.CRASH_DURING, rates.crash / 3),
        ):
            if chance < rate:
                return fate
            chance -= rate
        return Fate.FINE

    def answer_lost(self) -> bool:
        """Whether an answer is lost on its way to its caller."""
        lost = self.rng.random() < self.rates.lost
        self.counts["answer lost"] = self.counts.get("answer lost", 0) + lost
        return lost

    def down(self, port: str) -> bool:
        """Whether a port, or what stands behind it, is down."""
        return any(
            outage.port == port and outage.from_ms <= _elapsed_ms() < outage.until_ms
            for outage in self._plan.outages
        )


class FaultyPort:
    """A port as one instance sees it. `raises`: whether the port's promise allows `Unavailable`."""

    def __init__(
        self,
        inner: object,
        name: str,
        instance: Instance,
        faults: Faults,
        trace: Trace,
        *,
        raises: bool = True,
    ) -> None:
        self._inner = inner
        self._name = name
        self._instance = instance
        self._faults = faults
        self._trace = trace
        self._raises = raises

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        effect = getattr(self._inner, method)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._call(method, lambda: effect(*args, **kwargs))

        return call

    def _fate(self, method: str) -> Fate:
        """The due index is a part of the table that may be throttled alone."""
        is_index = self._name == "store" and method in INDEX_METHODS
        return Fate.ERROR if is_index and self._faults.down("index") else self._faults.fate(self._name)

    async def _call(self, method: str, effect: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Make the call: some time passes, the effect takes place as a whole, some more time passes."""
        await self._instance.thawed()
        fate = self._fate(method)
        self._trace(self._instance.name, f"{self._name}.{method}", fate.name.lower())
        duration_ms = self._duration_ms(fate)
        self._begin(fate)
        await self._under_way(duration_ms, effect)
        if fate is Fate.CRASH_BEFORE:
            self._crash()
        if fate is Fate.ERROR and self._raises:
            raise Unavailable(f"{self._name}.{method}: refused")
        result = await effect()
        if fate is Fate.CRASH_AFTER:
            self._crash()
        await asyncio.sleep(duration_ms / 1000)
        await self._instance.thawed()
        if fate is Fate.LOST and self._raises:
            raise Unavailable(f"{self._name}.{method}: no answer")
        return result

    def _duration_ms(self, fate: Fate) -> int:
        """How long each way takes; a port that never raises has its time in its own model."""
        if not self._raises:
            return 0
        return self._faults.rng.randint(*(SLOW_MS if fate is Fate.SLOW else USUAL_MS))

    def _begin(self, fate: Fate) -> None:
        rng = self._faults.rng
        if fate is Fate.FREEZE:
            self._instance.freeze(rng.randint(*FREEZE_MS))
        elif fate is Fate.CRASH_DURING:
            delay_s = rng.randint(*CRASH_DURING_MS) / 1000
            asyncio.get_running_loop().call_later(delay_s, self._instance.crash)

    async def _under_way(self, duration_ms: int, effect: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Let the request travel. Whoever stops waiting for it does not call it back."""
        try:
            await asyncio.sleep(duration_ms / 1000)
            await self._instance.thawed()
        except asyncio.CancelledError:
            if self._raises and self._faults.rng.random() < STILL_LANDS:
                _detached(effect())
            raise

    def _crash(self) -> None:
        self._instance.crash()
        raise asyncio.CancelledError


def _detached(work: Coroutine[Any, Any, Any]) -> None:
    """Carry out a request that has left its instance, whatever becomes of that."""
    token = CURRENT.set(None)
    task = asyncio.get_running_loop().create_task(work)
    CURRENT.reset(token)
    _LANDING[task] = None
    task.add_done_callback(lambda done: _LANDING.pop(done) and None)


_LANDING: "dict[asyncio.Task[Any], None]" = {}
"""Keeps tasks that nobody waits for alive."""


class LossyQueue:
    """A queue that loses, repeats, delays and reorders messages while the faults last."""

    def __init__(self, queue: MemoryQueue, faults: Faults) -> None:
        self._queue = queue
        self._faults = faults

    async def send(self, texts: Sequence[str], *, delay_ms: int = 0) -> None:
        """Send each message none, one or two times, now or later."""
        rng = self._faults.rng
        for text in texts:
            chance, rate = rng.random(), self._faults.rates.message
            copies = 0 if chance < rate else 2 if chance < 2 * rate else 1
            for _ in range(copies):
                late_ms = rng.randrange(120_000) if rng.random() < rate else rng.randrange(20)
                await self._queue.send([text], delay_ms=delay_ms + late_ms)

    async def receive(self, limit: int, wait_ms: int) -> list[Received]:
        """Receive messages."""
        return await self._queue.receive(limit, wait_ms)

    async def delete(self, receipts: Sequence[str]) -> None:
        """Delete messages."""
        await self._queue.delete(receipts)


def _elapsed_ms() -> int:
    return VirtualClock().now_ms() - EPOCH_MS
