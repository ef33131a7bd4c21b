"""The whole stack on this machine: stand-in, inbox, embedded AWS with the functions, front."""

import asyncio
import os
import signal
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from infra.local import emulator
from infra.local.aws import LocalSession
from infra.local.deploy import Deployment, deploy
from infra.local.keys import Keys
from infra.local.package import Package, archive_of_code, digest_of_code
from infra.local.processes import Child, require_free_port
from infra.local.settings import LocalSettings
from infra.local.warm import warm
from infra.local.window import prepare_window

START_LIMIT_S = 30.0
# It saves its state in a second or two, on a busy machine longer. A kill before that loses accepted requests.
STOP_EMULATOR_S = 30.0
STOP_SERVERS_S = 1.0
FRONT = "front"
EMULATOR = "emulator"
UPSTREAM = "upstream"
INBOX = "inbox"


class Stack:
    """Starts and stops the processes of one stack, whose state is kept in one folder."""

    def __init__(self, settings: LocalSettings, folder: Path, say: Callable[[str], None]) -> None:
        self.settings = settings
        self.folder = folder.resolve()
        self.logs = self.folder / "logs"
        self.session = LocalSession(settings.aws_url)
        self._say = say
        self.children: list[Child] = []
        self._window_is_prepared = False
        # Exists while a stack runs. If it exists at a start, the last stop was not clean. It is kept until
        # the window is prepared, so that a failed start does not hide the unclean stop.
        self._unsettled = self.folder / "unsettled"

    @property
    def function_log(self) -> Path:
        """What the three functions log."""
        return self.logs / "functions.log"

    def require_free_ports(self) -> None:
        """Raise `StackError` that names the first port that is taken."""
        ports = self.settings.ports
        for port, setting in (
            (ports.api, "API_PORT"),
            (ports.upstream, "UPSTREAM_PORT"),
            (ports.inbox, "INBOX_PORT"),
            (ports.aws, "AWS_PORT"),
        ):
            if setting != "UPSTREAM_PORT" or self.settings.uses_stand_in:
                require_free_port(port, setting)

    def start(self) -> tuple[Deployment, Keys]:
        """Start everything; return once the API answers. Call `stop` afterwards, also after an error."""
        self.logs.mkdir(parents=True, exist_ok=True)
        keys = Keys.load(self.folder / "secrets", self.settings.webhook_secret)
        stopped_cleanly = not self._unsettled.exists()
        self._unsettled.touch()
        emulator.install(self._say)
        self._start_processes(keys)
        with _signals_held():  # an incomplete deployment would have to be replaced
            deployment = deploy(self.session, self.settings, keys, _package())
        self._prepare_window(deployment, stopped_cleanly=stopped_cleanly)
        asyncio.run(warm(self.session, deployment, self.settings.warm_workers))
        self._start_front(deployment.api_url)
        return deployment, keys

    def check(self) -> None:
        """Raise `StackError` if any process has ended."""
        for child in self.children:
            child.check()

    def stop(self) -> None:
        """End every process: the front, then the emulator (which saves), then the servers that they call."""
        self._end(FRONT, limit_s=STOP_SERVERS_S)
        is_saved = self._end(EMULATOR, limit_s=STOP_EMULATOR_S)
        self._end(UPSTREAM, INBOX, limit_s=STOP_SERVERS_S)
        self.children.clear()
        if self._window_is_prepared and is_saved:
            self._unsettled.unlink(missing_ok=True)

    def _end(self, *names: str, limit_s: float) -> bool:
        """End these processes together; True if each ended by itself, without an error."""
        children = [child for child in self.children if child.name in names]
        for child in children:
            child.ask_to_stop()
        ended_well = [child.end(limit_s) for child in children]
        return all(ended_well)

    def _start_processes(self, keys: Keys) -> None:
        """Start all that the functions need, side by side."""
        ports = self.settings.ports
        waits: list[tuple[Child, str]] = []
        if self.settings.uses_stand_in:
            stand_in = self._start_server(UPSTREAM, ports.upstream, self.settings.stand_in_environment)
            waits.append((stand_in, f"{self.settings.calls.url}/_stats"))
        inbox = self._start_server(INBOX, ports.inbox, {"INBOX_SECRET_FILE": str(keys.webhook_secret_file)})
        waits.append((inbox, f"{self.settings.inbox_url}/_received"))
        environment = emulator.environment(
            self.folder / "aws",
            self.function_log,
            ports.aws,
            os.environ,
            schedule_s=self.settings.schedule_s,
        )
        waits.append(
            (
                self._start_child(EMULATOR, emulator.command(), environment),
                f"{self.settings.aws_url}/_ministack/health",
            )
        )
        for child, url in waits:
            child.wait_until_answering(url, START_LIMIT_S)

    def _start_front(self, api_url: str) -> None:
        settings = {"FRONT_TARGET": api_url, "FRONT_CONCURRENCY": str(self.settings.warm_workers)}
        front = self._start_server(FRONT, self.settings.ports.api, settings)
        front.wait_until_answering(f"{self.settings.api_url}/health", START_LIMIT_S)

    def _start_server(self, name: str, port: int, settings: Mapping[str, str]) -> Child:
        """Start a local server. Keys are in its environment, never in its arguments."""
        command = [sys.executable, "-m", f"infra.local.{name}", "--port", str(port)]
        if name != FRONT:  # it has no state
            command += ["--state-dir", str(self.folder / name)]
        return self._start_child(name, command, {**emulator.inherited(os.environ), **settings})

    def _start_child(self, name: str, command: list[str], environment: Mapping[str, str]) -> Child:
        child = Child.start(name, command, environment, self.logs)
        self.children.append(child)
        return child

    def _prepare_window(self, deployment: Deployment, *, stopped_cleanly: bool) -> None:
        line = prepare_window(
            self.session,
            deployment.resources["WindowTable"],
            self.settings,
            clean=stopped_cleanly,
        )
        self._window_is_prepared = True
        self._say(line)


def _package() -> Package:
    """Pack the functions' code. They run on this interpreter, and import its packages."""
    return Package(digest_of_code(), archive_of_code, sysconfig.get_path("purelib"))


@contextmanager
def _signals_held() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM until the block ends."""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
