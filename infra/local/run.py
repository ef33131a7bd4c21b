"""`make run`: starts the stack, prints its addresses, and stops it at Ctrl-C or SIGTERM."""

import argparse
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from core.errors import SettingError
from infra import ROOT
from infra.local.keys import Keys
from infra.local.processes import StackError
from infra.local.settings import DEFAULT_KEY, DEFAULT_OPERATOR_KEY, LocalSettings, environment, misspelled
from infra.local.stack import Stack

EXIT_FAILURE = 1
EXIT_USAGE = 2
CHECK_EVERY_S = 0.2


def main(argv: Sequence[str]) -> int:
    """Run until a signal stops it; return the exit status."""
    options = _options(argv)
    try:
        settings = LocalSettings.read(environment(options.env_file))
    except SettingError as error:
        return _fail(error, EXIT_USAGE)
    for warning in misspelled(options.env_file, ROOT / ".env.example"):
        _say(f"warning: {options.env_file}: {warning}")
    try:
        with _only_one(options.state_dir):
            _run(Stack(settings, options.state_dir, _say))
    except StackError as error:
        return _fail(error, EXIT_FAILURE)
    except KeyboardInterrupt:
        return 0
    return 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state-dir", type=Path, default=Path(".local"), help="where everything is kept")
    parser.add_argument("--env-file", type=Path, default=Path(".env"), help="settings beside the environment")
    return parser.parse_args(argv)


def _run(stack: Stack) -> None:
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    began_s = time.monotonic()
    stack.require_free_ports()
    try:
        _, keys = stack.start()
        _say(_ready(stack, keys, time.monotonic() - began_s))
        while True:
            time.sleep(CHECK_EVERY_S)
            stack.check()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with suppress(OSError):  # the terminal may be closed
            _say("stopping; the state is kept")
        stack.stop()


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. The system releases it when this process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "run.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise StackError(f"already running here (process {lock.read().strip()})") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _ready(stack: Stack, keys: Keys, took_s: float) -> str:
    settings = stack.settings
    upstream = f"{settings.calls.url}/_stats" if settings.uses_stand_in else settings.calls.url
    return f"""
Ready in {took_s:.1f} s. Ctrl-C stops everything and keeps the state.

  API       {settings.api_url}
  API docs  {settings.api_url}/docs
  console   {settings.api_url}/console ({console_keys(settings)})
  upstream  {upstream}
  webhooks  {settings.inbox_url}
  AWS       {settings.aws_url}
  secret    {_shown(keys.webhook_secret_file)} (signs the webhooks)
  logs      make logs

Try it:

  curl -i "{settings.api_url}/crypto/sign?message=hello&webhook_url={_hook(settings)}" \\
    -H "Authorization: {_shown_key(settings)}"
"""


def _hook(settings: LocalSettings) -> str:
    return f"http%3A%2F%2F127.0.0.1%3A{settings.ports.inbox}%2Fhook"


def _shown_key(settings: LocalSettings) -> str:
    """Return the default key if a client has it: it is no secret. No other key is ever returned."""
    return DEFAULT_KEY if DEFAULT_KEY in settings.clients.values() else "<one of your CLIENT_API_KEYS>"


def console_keys(settings: LocalSettings) -> str:
    """Return which keys open the console. The default operator's key is no secret, and is shown."""
    if not settings.operators:
        return "a caller's key opens it; OPERATOR_API_KEYS makes operators"
    if DEFAULT_OPERATOR_KEY in settings.operators.values():
        return f"operator: {DEFAULT_OPERATOR_KEY}; the key below sees its own requests"
    return "one of your OPERATOR_API_KEYS sees everything, a caller's key its own requests"


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _say(line: str) -> None:
    print(line, flush=True)


def _fail(error: Exception, status: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
