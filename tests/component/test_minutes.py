"""The processor's note of each minute."""

from dataclasses import replace
from typing import Any

from core import job as jobs
from core import request as requests
from core import window as windows
from core.gate import Gate
from core.history import Minute
from core.request import Request
from core.window import Limits
from processor.figures import waiting
from processor.minutes import Minutes
from proofs.simulation.virtual_time import VirtualClock, run
from tests.component.world import Down, Silent
from tests.fakes.memory import MemoryHistory, MemoryJobStore, MemoryTable, MemoryWindow, MemoryWindowStore

HOOK = "https://receiver.example/hook"


class World:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.store = MemoryJobStore(MemoryTable())
        self.window = MemoryWindow(Gate(windows.empty(Limits(10, 60_000))))
        self.items = MemoryHistory()
        self.telemetry = Silent()

    def minutes(self, **replaced: object) -> Minutes:
        window_store = MemoryWindowStore(self.window, lambda: Gate(windows.empty(Limits(10, 60_000))))
        ports = {"store": self.store, "window_store": window_store, "items": self.items} | replaced
        return Minutes(**ports, clock=self.clock, telemetry=self.telemetry)  # type: ignore[arg-type]

    async def accept(self, text: str) -> Request:
        now_ms = self.clock.now_ms()
        job = jobs.schedule(None, text, now_ms, jobs.Waiter(text, "alice"))
        await self.store.write_job(None, job)
        counts = self.window.gate.waiting if self.window.gate else {}
        waiting = {**counts, "alice": counts.get("alice", 0) + 1}
        self.window.gate = replace(self.window.gate, waiting=waiting) if self.window.gate else None
        return await self.store.accept(Request(text, job.id, text, "alice", HOOK, now_ms, due_ms=now_ms))


def test_a_minute_is_noted_once() -> None:
    """What waits and what ended since the note before; runs in between note nothing."""

    async def scenario() -> None:
        world = World()
        request = await world.accept("one")
        await world.accept("two")
        await world.minutes().note()
        await world.clock.sleep_ms(40_000)
        await world.minutes().note()
        signed = requests.close_signed(request, "signature", world.clock.now_ms())
        await world.store.write_request(request, requests.delivered(signed, world.clock.now_ms(), "http_200"))
        await world.clock.sleep_ms(20_000)
        await world.minutes().note()
        first, second = await world.items.since(0)
        assert (first.waiting, first.ended, first.state) == (2, 0, "at_limit")
        assert (second.ended, second.p50_ms, second.since_ms) == (1, 40_000, first.at_ms)

    run(scenario())


def test_an_item_of_tomorrow_does_not_stop_the_history() -> None:
    """A host with a wrong clock wrote it; the next minute is noted all the same."""

    async def scenario() -> None:
        world = World()
        await world.items.write(Minute(world.clock.now_ms() + 86_400_000))
        await world.minutes().note()
        assert world.clock.now_ms() in world.items.items

    run(scenario())


def test_a_note_that_fails_stops_no_run() -> None:
    """It is logged, and the next minute is noted again."""

    async def scenario() -> None:
        world = World()
        await world.minutes(items=Down()).note()
        assert [name for name, _ in world.telemetry.events] == ["history_not_written"]

    run(scenario())


def test_a_database_that_hangs_delays_no_run() -> None:
    """The note has a few seconds: a run needs the rest of the function's time for calls."""

    async def scenario() -> None:
        world = World()
        started_ms = world.clock.monotonic_ms()
        await world.minutes(store=Down(60)).note()
        assert world.clock.monotonic_ms() - started_ms <= 3_000
        assert [name for name, _ in world.telemetry.events] == ["history_not_written"]

    run(scenario())


def test_an_idle_month_pays_for_no_metric() -> None:
    """While nothing waits, a scheduled run reports no metric; else how many jobs wait and for how long."""

    async def scenario() -> None:
        world = World()
        window_store = MemoryWindowStore(world.window, lambda: Gate(windows.empty(Limits(10, 60_000))))
        ports = world.store, window_store, world.clock, world.telemetry
        assert await waiting(*ports) == {}
        await world.accept("one")
        await world.clock.sleep_ms(3_000)
        assert await waiting(*ports) == {"Waiting": 1, "OldestAgeS": 3}

    run(scenario())


def test_metrics_that_cannot_be_read_fail_no_run() -> None:
    """A run that has made its calls is not repeated for its metrics."""

    async def scenario() -> None:
        world = World()
        down: Any = Down()
        assert await waiting(down, down, world.clock, world.telemetry) == {}
        assert [name for name, _ in world.telemetry.events] == ["waiting_not_counted"]

    run(scenario())
