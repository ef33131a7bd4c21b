"""What an operator does meanwhile, with the real tool: pause, change limits, replay, purge."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from random import Random
from typing import Any, cast

from calling.slots import Slots
from core import gate as gates
from core import window as windows
from core.config import CallSettings
from core.errors import Unavailable
from core.request import Request
from infra.ops import requests as actions
from infra.ops.ports import Ports
from ports import Clock, JobStore, Queue, Randomness, WindowStore
from proofs.simulation.troubles import Act, Trouble
from tests.fakes.memory import MemoryTable

REPLAYED_MAX = 5
CALLS = (1, 2, 5, 12)
WINDOWS_MS = (5_000, 30_000)


@dataclass(frozen=True, slots=True)
class OperatorPorts:
    """The world, as the operator's tool reaches it."""

    store: JobStore
    window_store: WindowStore
    notifications: Queue
    clock: Clock
    randomness: Randomness


class Operator:
    """Acts at the moments that the plan has."""

    def __init__(self, table: MemoryTable, ports: OperatorPorts, settings: CallSettings, rng: Random) -> None:
        self._table = table
        self._ports = ports
        self._slots = Slots(ports.window_store, ports.clock, ports.randomness, settings.timing)
        self._rng = rng

    async def requests(self) -> AsyncIterator[Request]:
        """Return every request there is, as a scan of the table does."""
        for requests in list(self._table.requests.values()):
            for request in list(requests.values()):
                yield request

    async def act(self, act: Act) -> None:
        """Do it; what fails is done by nobody else, except that calls are let go on."""
        doing = {
            Trouble.LIMITS: self._change_limits,
            Trouble.PAUSE: lambda: self._pause(act.lasts_ms),
            Trouble.REPLAY: self._replay,
            Trouble.PURGE: self._purge,
        }
        try:
            await doing[act.trouble]()
        except Unavailable:
            return

    async def _change_limits(self) -> None:
        calls, window_ms = self._rng.choice(CALLS), self._rng.choice(WINDOWS_MS)
        await self._slots.refresh()
        await self._slots.amend(
            lambda gate: windows.change_limits(gate.window, calls, window_ms, deployed=False)
        )

    async def _pause(self, lasts_ms: int) -> None:
        await self._slots.refresh()
        now_ms = self._ports.clock.now_ms()
        await self._slots.amend(lambda gate: gates.pause(gate, by="operator", now_ms=now_ms))
        await asyncio.sleep(lasts_ms / 1000)
        while True:
            try:
                await self._slots.refresh()
                now_ms = self._ports.clock.now_ms()
                await self._slots.amend(lambda gate: gates.resume(gate, now_ms=now_ms))  # noqa: B023 - used at once
            except Unavailable:
                await asyncio.sleep(1)
            else:
                return

    async def _replay(self) -> None:
        ended = [request async for request in self.requests() if not request.open and request.webhook_url]
        chosen = self._rng.sample(ended, min(REPLAYED_MAX, len(ended)))
        await actions.replay(self._tool(), chosen)

    async def _purge(self) -> None:
        waiting = [request async for request in self.requests() if request.open]
        await actions.purge(self._tool(), waiting, notify=True)

    def _tool(self) -> Ports:
        """Return the tool's ports; what these acts don't use is not there."""
        ports = self._ports
        missing = cast(Any, None)
        return Ports(
            ports.store, self, ports.window_store, ports.notifications, {}, missing, missing, ports.clock
        )
