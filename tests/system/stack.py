"""A whole embedded stack for tests: real processes and sockets, on free ports, in a folder of its own."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.local.aws import LocalSession
from infra.local.deploy import Deployment
from infra.local.keys import Keys
from infra.local.settings import DEFAULT_KEY, LocalSettings
from infra.local.stack import Stack
from tests.system.machine import whole_machine

PORT_SETTINGS = ("API_PORT", "UPSTREAM_PORT", "INBOX_PORT", "AWS_PORT")
API_KEY = DEFAULT_KEY
NO_FAULTS = {
    "STANDIN_OUTAGE_SHARE": "0",
    "STANDIN_SLOW_SHARE": "0",
    "STANDIN_HANG_SHARE": "0",
}
"""Settings of an upstream that fails only where a test makes it."""


@dataclass(frozen=True)
class RunningStack:
    """What a test needs of a stack that runs."""

    stack: Stack
    deployment: Deployment
    keys: Keys

    @property
    def api_url(self) -> str:
        return self.stack.settings.api_url

    @property
    def upstream_url(self) -> str:
        return self.stack.settings.calls.url

    @property
    def inbox_url(self) -> str:
        return self.stack.settings.inbox_url

    @property
    def hook_url(self) -> str:
        """A webhook URL that the inbox answers."""
        return f"{self.inbox_url}/hook"

    @property
    def session(self) -> LocalSession:
        return self.stack.session

    @property
    def resources(self) -> dict[str, str]:
        """The names that the template's resources got, by their names in the template."""
        return dict(self.deployment.resources)

    @property
    def function_log(self) -> Path:
        return self.stack.function_log


@contextmanager
def running_stack(folder: Path, **settings: str) -> Iterator[RunningStack]:
    """Start a stack with these settings, named as in `.env.example`; stop it at the end."""
    stack = Stack(LocalSettings.read({**free_ports(), **settings}), folder, print)
    try:
        with whole_machine():
            deployment, keys = stack.start()
        yield RunningStack(stack, deployment, keys)
    finally:
        stack.stop()


def free_ports() -> dict[str, str]:
    """Return settings with a free port each; all are held until the last is found, so that they differ."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in PORT_SETTINGS]
        ports = [str(listener.getsockname()[1]) for listener in sockets]
    return dict(zip(PORT_SETTINGS, ports, strict=True))
