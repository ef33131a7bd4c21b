"""Child processes: each in a group of its own, with its own log, ended as a group."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import httpx

from infra import ROOT

POLL_S = 0.05
PROBE_LIMIT_S = 1.0


class StackError(Exception):
    """The stack cannot start or go on; the message is for the user."""


class Child:
    """One child process, with the processes that it starts."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self._process = process
        self._log = log

    @classmethod
    def start(cls, name: str, command: Sequence[str], environment: Mapping[str, str], logs: Path) -> Self:
        """Start a program from the repository, with exactly this environment."""
        log = logs / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 - the repository's own programs
                command,
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        """The process's id, which is its group's too."""
        return self._process.pid

    def check(self) -> None:
        """Raise `StackError` if the process has ended."""
        status = self._process.poll()
        if status is not None:
            raise StackError(f"the {self.name} ended unexpectedly (status {status}): see {self._log}")

    def wait_until_answering(self, url: str, limit_s: float) -> None:
        """Return once the URL answers below 500; raises `StackError` if that takes too long."""
        end_s = time.monotonic() + limit_s
        while not _answers(url):
            self.check()
            if time.monotonic() > end_s:
                raise StackError(f"the {self.name} did not answer within {limit_s:g} s: see {self._log}")
            time.sleep(POLL_S)

    def ask_to_stop(self) -> None:
        """Send the process SIGTERM."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def end(self, limit_s: float) -> bool:
        """Wait for the process, then end its whole group; True if it ended by itself, without an error."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(limit_s)
        ended_well = self._process.poll() == 0
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        return ended_well


def require_free_port(port: int, setting: str) -> None:
    """Raise `StackError` if something else listens on the port."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise StackError(f"port {port} is taken: set {setting} to another one") from error


def _answers(url: str) -> bool:
    try:
        return not httpx.get(url, timeout=PROBE_LIMIT_S, trust_env=False).is_server_error
    except httpx.HTTPError:
        return False
