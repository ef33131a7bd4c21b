"""The stack that the demo shows: one that runs already, or a fresh one in a temporary folder."""

import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx

from infra.local.processes import StackError
from infra.local.settings import LocalSettings
from infra.local.stack import Stack

PORT_SETTINGS = ("API_PORT", "UPSTREAM_PORT", "INBOX_PORT", "AWS_PORT")
PROBE_LIMIT_S = 5.0
# A minute in three seconds: the same rules, every duration shorter, and an upstream that recovers sooner.
COMPRESSED = {
    "UPSTREAM_WINDOW_SECONDS": "3",
    "UPSTREAM_RETRY_SECONDS": "1.5",
    "UPSTREAM_TIMEOUT_SECONDS": "2",
    "UPSTREAM_GRACE_SECONDS": "0.5",
    "CLOCK_MARGIN_SECONDS": "0.1",
    "STANDIN_LATENCY_MS": "100",
    "STANDIN_SLOW_SHARE": "0",
    "STANDIN_HANG_SHARE": "0",
    "STANDIN_OUTAGE_MIN_S": "3",
    "STANDIN_OUTAGE_MAX_S": "10",
}


@dataclass(frozen=True, slots=True)
class Target:
    """A stack's addresses, a caller's key for it, and its limit."""

    api_url: str
    upstream_url: str
    inbox_url: str
    key: str
    calls: int
    window_s: float

    @classmethod
    def of(cls, settings: LocalSettings) -> Self:
        """Return the addresses of a stack with these settings."""
        limits = settings.calls.limits
        return cls(
            api_url=settings.api_url,
            upstream_url=settings.calls.url,
            inbox_url=settings.inbox_url,
            key=next(iter(settings.clients.values())),
            calls=limits.calls,
            window_s=limits.window_ms / 1000,
        )

    @property
    def hook_url(self) -> str:
        """A webhook URL of the inbox."""
        return f"{self.inbox_url}/hook"

    def runs(self) -> bool:
        """Whether all its parts answer."""
        urls = (f"{self.api_url}/health", f"{self.upstream_url}/_stats", f"{self.inbox_url}/_received")
        try:
            return all(httpx.get(url, trust_env=False, timeout=PROBE_LIMIT_S).is_success for url in urls)
        except httpx.TransportError:
            return False


@contextmanager
def found(values: Mapping[str, str], *, compressed: bool, say: Callable[[str], None]) -> Iterator[Target]:
    """Find the running stack with these settings, or start one; raises `StackError`, `SettingError`.

    `compressed`: always a fresh one, in compressed time.
    """
    if not compressed:
        settings = LocalSettings.read(values)
        if not settings.uses_stand_in:
            raise StackError("the demo needs the stand-in, which counts: leave UPSTREAM_URL unset")
        target = Target.of(settings)
        if target.runs():
            say(f"Using the stack at {target.api_url}.")
            yield target
            return
    say("Starting a fresh stack in a temporary folder.")
    with tempfile.TemporaryDirectory(prefix="signing-relay-demo-") as folder:
        stack = Stack(
            LocalSettings.read({**(COMPRESSED if compressed else {}), **_free_ports()}), Path(folder), say
        )
        try:
            stack.start()
            yield Target.of(stack.settings)
        finally:
            stack.stop()


def _free_ports() -> dict[str, str]:
    """Return a free port for each; all are held until the last is found, so that they differ."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in PORT_SETTINGS]
        ports = [str(listener.getsockname()[1]) for listener in sockets]
    return dict(zip(PORT_SETTINGS, ports, strict=True))
