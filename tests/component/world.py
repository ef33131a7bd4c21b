"""A world in memory for the API: all that the production wiring gives it, and an upstream to script."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.types import ASGIApp

from adapters.clock import SystemRandomness
from api.app import create_app
from api.services import Services
from api.settings import ApiSettings
from api.wiring import ApiPorts, assemble
from core import window as windows
from core.answers import Answer, Meaning
from core.errors import Unavailable
from core.gate import Gate
from core.secrets import Secrets
from core.waiting import open_field_of
from core.window import Change
from ports import Clock
from proofs.simulation.virtual_time import VirtualClock
from tests.component.contract import conforms
from tests.fakes.memory import (
    MemoryClaimStore,
    MemoryHistory,
    MemoryJobStore,
    MemoryQueue,
    MemoryTable,
    MemoryWindow,
    MemoryWindowStore,
)

KEY = "key-of-alice"
OPERATOR_KEY = "key-of-olga"
SIGNATURE = "c2lnbmF0dXJl" * 8
HOOK = "https://receiver.example/hook"
SECRETS = Secrets(
    upstream_key="upstream-key",
    clients={"alice": KEY, "bob": "key-of-bob"},
    webhook_secrets=("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",),
    signing_keys=(),
    token_keys=("token-key",),
    operators={"olga": OPERATOR_KEY},
)
ENVIRONMENT = {
    "UPSTREAM_URL": "https://upstream.example",
    "TABLE_NAME": "table",
    "WINDOW_TABLE_NAME": "window",
    "SECRET_ID": "secret",
    "WORK_QUEUE_URL": "queue",
    "WORK_DEAD_LETTER_QUEUE_URL": "dead-letters",
    "NOTIFICATION_QUEUE_URL": "notifications",
    "NOTIFICATION_DEAD_LETTER_QUEUE_URL": "dead-notifications",
    "PUBLIC_URL": "https://relay.example",
}


@dataclass
class ScriptedUpstream:
    """Answers what the test says, after as long as the test says."""

    clock: Clock
    meaning: Meaning = Meaning.SIGNED
    status: int = 200
    retry_after_ms: int | None = None
    forbidden: frozenset[str] = frozenset()
    takes_ms: int = 300
    calls: list[str] = field(default_factory=list)
    probe_meaning: Meaning = Meaning.WELCOME
    probes: int = 0

    async def sign(self, message: str, *, call_limit_ms: int, may_send: Callable[[], bool]) -> Answer:
        assert may_send()
        self.calls.append(message)
        await self.clock.sleep_ms(min(self.takes_ms, call_limit_ms))
        if self.takes_ms > call_limit_ms:
            return Answer(Meaning.UNANSWERED, reason="TimeoutError", latency_ms=call_limit_ms)
        forbidden = message in self.forbidden
        meaning, status = (Meaning.KEY_REFUSED, 403) if forbidden else (self.meaning, self.status)
        return Answer(
            meaning,
            status,
            SIGNATURE if meaning is Meaning.SIGNED else "",
            retry_after_ms=self.retry_after_ms,
            first_byte_mono_ms=self.clock.monotonic_ms(),
            latency_ms=self.takes_ms,
        )

    async def probe(self, *, call_limit_ms: int, may_send: Callable[[], bool]) -> Answer:
        assert may_send()
        self.probes += 1
        await self.clock.sleep_ms(min(self.takes_ms, call_limit_ms))
        mono_ms = self.clock.monotonic_ms()
        return Answer(self.probe_meaning, first_byte_mono_ms=mono_ms)


class Silent:
    """A `ports.Telemetry` that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []
        self._about: ContextVar[dict[str, object]] = ContextVar("about", default={})  # noqa: B039

    def event(self, name: str, metrics: Mapping[str, float] | None = None, **fields: object) -> None:
        self.events.append((name, {**self._about.get(), **fields, **(metrics or {})}))

    @contextmanager
    def about(self, **fields: object) -> Iterator[None]:
        outer = self._about.set({**self._about.get(), **fields})
        yield
        self._about.reset(outer)


class Down:
    """Stands for any store that is out of order: every method raises `Unavailable`, or hangs first."""

    def __init__(self, hangs_s: float = 0) -> None:
        self._hangs_s = hangs_s

    def __getattr__(self, name: str) -> Callable[..., object]:
        async def refuse(*_: object, **__: object) -> None:
            await asyncio.sleep(self._hangs_s)
            raise Unavailable(name)

        return refuse


class Slow:
    """Stands in front of any store: it works, but every call takes its time."""

    def __init__(self, store: object, clock: Clock, takes_ms: int) -> None:
        self._store = store
        self._clock = clock
        self._takes_ms = takes_ms

    def __getattr__(self, name: str) -> Callable[..., object]:
        async def wait(*arguments: object, **named: object) -> object:
            await self._clock.sleep_ms(self._takes_ms)
            return await getattr(self._store, name)(*arguments, **named)

        return wait


class ApiWorld:
    """One API instance in virtual time."""

    def __init__(self, **environment: str) -> None:
        self.clock = VirtualClock()
        self.settings = ApiSettings.read(ENVIRONMENT | environment)
        self.table = MemoryTable()
        self.store = MemoryJobStore(self.table)
        self.window = MemoryWindow(self._empty())
        self.window_store = MemoryWindowStore(self.window, self._empty)
        self.queue, self.notifications = MemoryQueue(self.clock), MemoryQueue(self.clock)
        self.dead_letters, self.dead_notifications = MemoryQueue(self.clock), MemoryQueue(self.clock)
        self.upstream = ScriptedUpstream(self.clock)
        self.history = MemoryHistory()
        self.claims = MemoryClaimStore()
        self.telemetry = Silent()

    def _empty(self) -> Gate:
        return Gate(windows.empty(self.settings.calls.limits))

    def app(self, **replaced: object) -> ASGIApp:
        """Return the application; any of these ports may be replaced."""
        ports: dict[str, Any] = {
            "store": self.store,
            "window_store": self.window_store,
            "queue": self.queue,
            "claims": self.claims,
            "notifications": self.notifications,
            "dead_letters": self.dead_letters,
        } | replaced
        return create_app(self._services(ports))

    def client(self, **replaced: object) -> httpx.AsyncClient:
        """Return a client of the application, with the same choice."""
        transport = httpx.ASGITransport(self.app(**replaced), raise_app_exceptions=False)
        return httpx.AsyncClient(
            transport=transport,
            base_url="https://relay.example",
            event_hooks={"response": [conforms]},  # every answer of every test is one that we describe
        )

    def _services(self, ports: Mapping[str, Any]) -> Services:
        async def secrets() -> Secrets:
            return SECRETS

        async def up() -> None:
            return None

        world = ApiPorts(
            store=ports["store"],
            window_store=ports["window_store"],
            upstream=self.upstream,
            work_queue=ports["queue"],
            notifications=ports["notifications"],
            clock=self.clock,
            randomness=SystemRandomness(),
            telemetry=self.telemetry,
            claims=ports["claims"],
            history=self.history,
            dead_letters={"work": ports["dead_letters"], "notification": self.dead_notifications},
            secrets=secrets,
            checks={"database": up, "queue": up},
        )
        return assemble(world, self.settings)

    def fill_window(self, free_in_ms: int = 60_000) -> None:
        """Make every slot busy for that long."""
        self.window.window = windows.full(self.settings.calls.limits, self.clock.now_ms() + free_in_ms)

    async def count_open(self, client: str, number: int) -> None:
        """Add to a caller's count of open requests."""
        version = self.window.window.limits.version
        await self.window_store.apply(Change(version, increments={open_field_of(client): number}))

    def slow_upstream(self, latency_ms: int) -> None:
        """Make the last calls look that slow."""
        assert self.window.gate
        self.window.gate = self.window.gate.having((latency_ms,) * 8)
