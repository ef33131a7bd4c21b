"""`python -m proofs.simulation.window_run --hours 10000 --seeds 200 --latency 0.3` checks the promise.

Many hours of the real window code (`core.window`, `calling.slots`, the memory store) under every fault, with
calls wanted all the time. Events in a heap instead of an event loop: nothing here waits but the simulation.
"""

import argparse
import heapq
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from multiprocessing import get_context
from statistics import fmean

import infra  # noqa: F401 - puts the functions on the path
from calling.slots import Lease, Slots
from core import window as windows
from core.answers import Answer, Meaning
from core.errors import Unavailable
from core.gate import Gate
from core.window import Change, Kind, Limits, NotBefore, Timing
from ports import Conflict, Written
from proofs.simulation.at_once import at_once
from proofs.simulation.link import arrives_by_ms
from tests.fakes.memory import MemoryWindow, MemoryWindowStore

LIMITS = Limits(calls=10, window_ms=60_000)
TIMING = Timing(grace_ms=10_000, margin_ms=250)
CALL_LIMIT_MS = 30_000
HOSTS = 4
ARRIVES_BY_MS = arrives_by_ms(CALL_LIMIT_MS, TIMING)
HOUR_MS = 3_600_000
START_MS = 1_800_000_000_000
LATENCY_SIGMA = 0.5  # of a log-normal distribution

LOST_WRITE = 0.001  # the caller is told that it does not know; half of them land
LOST_SETTLE = 0.001
STUCK_SETTLE = 0.002
STUCK_MS_MAX = 200_000
PAUSE = 0.005  # between take and send
PAUSE_MS_MAX = 5_000
SLEEP = 0.001  # of the machine, after the send: monotonic time stands still, bytes may be late
LATE_ARRIVAL = 0.001
NEVER_SENT = 0.002
CRASH = 0.0005


@dataclass(slots=True)
class World:
    """True time, and what is to happen."""

    now_ms: int = 0
    events: list[tuple[int, int, Callable[[], None]]] = field(default_factory=list)
    numbers: "count[int]" = field(default_factory=count)

    def at(self, at_ms: int, event: Callable[[], None]) -> None:
        """Let something happen then."""
        heapq.heappush(self.events, (at_ms, next(self.numbers), event))

    def run(self, until_ms: int) -> None:
        """Let everything happen, in order, until then."""
        while self.events and self.events[0][0] <= until_ms:
            self.now_ms, _, event = heapq.heappop(self.events)
            event()


class HostClock:
    """One host's clock: ahead of true time by a constant, monotonic time less what the host slept."""

    def __init__(self, world: World, skew_ms: int) -> None:
        self._world = world
        self.skew_ms = skew_ms
        self.slept_ms = 0

    def now_ms(self) -> int:
        return START_MS + self._world.now_ms + self.skew_ms

    def monotonic_ms(self) -> int:
        return self._world.now_ms - self.slept_ms

    async def sleep_ms(self, duration_ms: int) -> None:
        raise NotImplementedError


class Ids:
    """Permit ids: short, and never twice."""

    def __init__(self, dice: random.Random) -> None:
        self._numbers = count()
        self._dice = dice

    def request_id(self, now_ms: int) -> str:
        raise NotImplementedError

    def token(self) -> str:
        return f"{next(self._numbers):x}"

    def fraction(self) -> float:
        return self._dice.random()


class FaultyStore(MemoryWindowStore):
    """Now and then it doesn't say whether a write landed."""

    def __init__(self, item: MemoryWindow, missing: Callable[[], Gate], dice: random.Random) -> None:
        super().__init__(item, missing)
        self._dice = dice

    async def apply(self, change: Change) -> Written[Gate] | Conflict[Gate]:
        chance = self._dice.random()
        if chance < LOST_WRITE / 2:
            raise Unavailable("lost on the way")
        result = await super().apply(change)
        if chance < LOST_WRITE:
            raise Unavailable("landed, but nobody says so")
        return result


class Arrivals:
    """The upstream's side: how many calls there were, and how many came too soon."""

    def __init__(self) -> None:
        self.total = 0
        self.violations = 0
        self.worst = 0
        self._recent: deque[int] = deque()

    def arrive(self, now_ms: int) -> None:
        """Count a call against the window that it ends."""
        while self._recent and self._recent[0] <= now_ms - LIMITS.window_ms:
            self._recent.popleft()
        self._recent.append(now_ms)
        self.total += 1
        self.worst = max(self.worst, len(self._recent))
        self.violations += len(self._recent) > LIMITS.calls


class Run:
    """One seed: a few hosts that take every slot they can."""

    def __init__(self, seed: int, latency_ms: int) -> None:
        self._dice = random.Random(seed)
        self._latency_ms = latency_ms
        self.world = World()
        self.arrivals = Arrivals()
        self._item = MemoryWindow(Gate(windows.empty(LIMITS)))
        self._ids = Ids(self._dice)
        skews_ms = [0, TIMING.margin_ms, *(self._dice.randint(0, TIMING.margin_ms) for _ in range(HOSTS - 2))]
        self._clocks = [HostClock(self.world, skew_ms) for skew_ms in skews_ms]
        self._slots = [self._restarted(clock) for clock in self._clocks]
        self._next_take_ms = 0
        self._look_again()

    def _restarted(self, clock: HostClock) -> Slots:
        store = FaultyStore(self._item, lambda: Gate(windows.empty(LIMITS)), self._dice)
        return Slots(store, clock, self._ids, TIMING)

    def _happens(self, probability: float) -> bool:
        return self._dice.random() < probability

    def _look_again(self) -> None:
        """Let some host take a slot as soon as one is free by its clock, unless one will do so before."""
        window = self._item.window
        assert window
        host = self._dice.randrange(HOSTS)
        free_ms = min(slot.free_at_ms for slot in window.slots) - START_MS - self._clocks[host].skew_ms
        at_ms = max(free_ms, self.world.now_ms + 1)
        if not self.world.now_ms < self._next_take_ms <= at_ms:
            self._next_take_ms = at_ms
            self.world.at(at_ms, lambda: self._take(host, at_ms))

    def _take(self, host: int, at_ms: int) -> None:
        if at_ms != self._next_take_ms:
            return  # it was moved to an earlier time
        lease = self._taken(self._slots[host])
        if lease:
            pause_ms = (
                self._dice.randint(0, PAUSE_MS_MAX) if self._happens(PAUSE) else self._dice.randint(1, 20)
            )
            self.world.at(self.world.now_ms + pause_ms, lambda: self._send(host, lease))
        self._look_again()

    @staticmethod
    def _taken(slots: Slots) -> Lease | None:
        """Take a slot on the window as last seen; if that has none, on the window as it is."""
        try:
            lease = at_once(slots.take(Kind.FRESH, CALL_LIMIT_MS))
            if isinstance(lease, NotBefore):
                at_once(slots.refresh())
                lease = at_once(slots.take(Kind.FRESH, CALL_LIMIT_MS))
        except Unavailable:
            slots.gate = None
            return None
        return lease if isinstance(lease, Lease) else None

    def _send(self, host: int, lease: Lease) -> None:
        slots, clock = self._slots[host], self._clocks[host]
        if self._happens(CRASH):
            self._slots[host] = self._restarted(clock)
            return
        if self._happens(NEVER_SENT) or not slots.may_send(lease)():
            self._settle(host, lease, Answer(Meaning.NEVER_SENT))
            return
        transit_ms, answer_ms = self._times_ms()
        asleep_ms = self._dice.randint(0, CALL_LIMIT_MS) if self._happens(SLEEP) else 0
        clock.slept_ms += asleep_ms
        if self._happens(0.5):
            transit_ms += asleep_ms  # the bytes had not left yet
        else:
            answer_ms += asleep_ms
        timed_out = transit_ms + answer_ms - asleep_ms > CALL_LIMIT_MS
        self._travel(host, lease, transit_ms, None if timed_out else transit_ms + answer_ms)

    def _travel(self, host: int, lease: Lease, transit_ms: int, first_byte_ms: int | None) -> None:
        now_ms, sent_mono_ms = self.world.now_ms, self._clocks[host].monotonic_ms()
        arrived_ms = now_ms + min(transit_ms, ARRIVES_BY_MS)
        self.world.at(arrived_ms, lambda: self.arrivals.arrive(self.world.now_ms))
        if first_byte_ms is None:
            return  # nothing is heard of it
        answer = Answer(
            Meaning.FAILED, first_byte_mono_ms=sent_mono_ms + first_byte_ms, latency_ms=first_byte_ms
        )
        self.world.at(now_ms + first_byte_ms, lambda: self._answered(host, lease, answer))

    def _times_ms(self) -> tuple[int, int]:
        """How long until the call arrives, and from then on until its answer begins."""
        latency_ms = round(self._dice.lognormvariate(0, LATENCY_SIGMA) * self._latency_ms)
        if self._happens(LATE_ARRIVAL):
            return self._dice.randint(0, ARRIVES_BY_MS), latency_ms
        transit_ms = self._dice.randint(0, min(latency_ms, 100))
        return transit_ms, latency_ms - transit_ms

    def _answered(self, host: int, lease: Lease, answer: Answer) -> None:
        if self._happens(LOST_SETTLE):
            return
        stuck_ms = self._dice.randint(0, STUCK_MS_MAX) if self._happens(STUCK_SETTLE) else 0
        if stuck_ms:
            self.world.at(self.world.now_ms + stuck_ms, lambda: self._settle(host, lease, answer))
        else:
            self._settle(host, lease, answer)

    def _settle(self, host: int, lease: Lease, answer: Answer) -> None:
        try:
            at_once(self._slots[host].settle(lease, answer))
        except Unavailable:
            self._slots[host].gate = None
        self._look_again()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one seed came to."""

    seed: int
    arrivals: int
    violations: int
    worst: int
    share: float


def run_seed(seed: int, hours: float, latency_ms: int) -> Outcome:
    """Simulate that many hours."""
    run = Run(seed, latency_ms)
    until_ms = round(hours * HOUR_MS)
    run.world.run(until_ms)
    allowed = LIMITS.calls * until_ms / LIMITS.window_ms
    seen = run.arrivals
    return Outcome(seed, seen.total, seen.violations, seen.worst, seen.total / allowed)


def run_seeds(seeds: Iterable[int], hours_each: float, latency_ms: int, processes: int) -> list[Outcome]:
    """Simulate each seed for that many hours, several at once."""
    with get_context("spawn").Pool(processes) as pool:
        return pool.starmap(run_seed, [(seed, hours_each, latency_ms) for seed in seeds])


def main() -> int:
    """Run and print; 1 if any call was one too many."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=10_000, help="in all")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--latency", type=float, nargs="+", default=[0.3], help="median, in seconds")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    violations = 0
    for latency_s in arguments.latency:
        started_s = time.perf_counter()
        hours_each = arguments.hours / arguments.seeds
        outcomes = run_seeds(range(arguments.seeds), hours_each, round(latency_s * 1000), arguments.processes)
        violations += sum(outcome.violations for outcome in outcomes)
        report(outcomes, arguments.hours, latency_s, time.perf_counter() - started_s)
    return 1 if violations else 0


def report(outcomes: list[Outcome], hours: float, latency_s: float, took_s: float) -> None:
    """Print the figures, and the seeds in which a call was one too many."""
    arrivals = sum(outcome.arrivals for outcome in outcomes)
    bad = [outcome.seed for outcome in outcomes if outcome.violations]
    print(  # noqa: T201
        f"latency {latency_s:g} s: {hours:,.0f} hours, {len(outcomes)} seeds, {arrivals:,} arrivals, "
        f"{sum(outcome.violations for outcome in outcomes)} violations "
        f"(worst window {max(outcome.worst for outcome in outcomes)} of {LIMITS.calls}), "
        f"{fmean(outcome.share for outcome in outcomes):.1%} of the allowance used, {took_s:.0f} s"
    )
    if bad:
        print(f"  seeds with violations: {bad}")  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
