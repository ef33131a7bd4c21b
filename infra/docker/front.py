"""The front of the containers. LocalStack loses the stack when it restarts; the front then deploys again."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from infra.local.aws import AwsSession
from infra.local.deploy import NoStackError, deployed
from infra.local.processes import StackError

LOOK_EVERY_S = 2.0
STOP_LIMIT_S = 5.0
NOWHERE = "http://127.0.0.1:1"  # no server listens there, so the front answers 503
PASSING = (StackError, BotoCoreError, ClientError, httpx.HTTPError, ValueError)
"""Errors while something starts, stops or is deployed: the front looks again."""


@dataclass(frozen=True)
class Watch:
    """Serves the stack, and deploys it if it is missing. `options`: the front's, but not its target."""

    session: AwsSession
    deploy: Callable[[], None]
    options: Sequence[str]

    def serve(self) -> int:
        """Serve until the front ends by itself; return its exit status. Without a stack it answers 503."""
        target = self._target(NOWHERE)
        while True:
            with subprocess.Popen(self._command(target)) as front:  # noqa: S603 - the repository's own program
                try:
                    status, target = self._wait(front, target)
                finally:
                    front.terminate()
                    front.wait(STOP_LIMIT_S)
            if status is not None:
                return status

    def _command(self, target: str) -> list[str]:
        return [sys.executable, "-m", "infra.local.front", "--target", target, *self.options]

    def _wait(self, front: "subprocess.Popen[bytes]", target: str) -> tuple[int | None, str]:
        """Wait until the front ends or another stack is deployed."""
        while True:
            time.sleep(LOOK_EVERY_S)
            if (status := front.poll()) is not None:
                return status, target
            is_served = target != NOWHERE or self._deployed_again()
            if is_served and (current := self._target(target)) != target:
                return None, current

    def _target(self, before: str) -> str:
        """Return the API's address; the previous one while LocalStack does not answer."""
        try:
            return deployed(self.session).api_url
        except NoStackError:
            return NOWHERE
        except PASSING:
            return before

    def _deployed_again(self) -> bool:
        """Deploy, and return whether that succeeded, with the window: a partial deployment is not served."""
        try:
            self.deploy()
        except PASSING as error:
            print(f"not deployed yet: {error}", file=sys.stderr, flush=True)
            return False
        return True
