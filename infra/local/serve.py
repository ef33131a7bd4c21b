"""What the local servers share: settings from flags and environment, a port of their own, a clean stop."""

import argparse
import dataclasses
import errno
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import uvicorn
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

EXIT_USAGE = 2
BACKLOG = 2_048  # connections that wait to be accepted
PARENT_CHECKED_EVERY_S = 0.5
GRACE_S = 0.5  # calls that hang on purpose must not delay a stop; what had to be kept is on disk already


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a local server listens; on loopback by default. Port 0 takes any free one."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0


SettingsT = TypeVar("SettingsT")


def parse(
    settings_type: type[SettingsT],
    prefix: str,
    argv: Sequence[str],
    environ: Mapping[str, str],
) -> SettingsT:
    """Read settings from flags, else from `PREFIX_NAME` variables, else defaults.

    A bad value ends the program with a line that names the flag, the variable and what was expected.
    """
    fields = dataclasses.fields(settings_type)  # type: ignore[arg-type]  # pydantic's are dataclasses too
    parser = argparse.ArgumentParser(allow_abbrev=False, argument_default=argparse.SUPPRESS)
    for field in fields:
        parser.add_argument(_flag(field.name), help=f"or {_variable(prefix, field.name)}")
    given = {
        field.name: environ[_variable(prefix, field.name)]
        for field in fields
        if environ.get(_variable(prefix, field.name))
    }
    given |= vars(parser.parse_args(argv))
    try:
        return TypeAdapter(settings_type).validate_python(given)
    except ValidationError as error:
        parser.error("; ".join(_complaint(prefix, problem) for problem in error.errors()))


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _variable(prefix: str, name: str) -> str:
    return f"{prefix}_{name.upper()}"


def _complaint(prefix: str, problem: Mapping[str, Any]) -> str:
    if not problem["loc"]:
        return str(problem["msg"])
    name = str(problem["loc"][0])
    return f"{_flag(name)} ({_variable(prefix, name)}): {problem['msg']}"


def changed(current: SettingsT, changes: object) -> SettingsT:
    """Return the settings with some fields changed; raises ValueError on an unknown name or a bad value."""
    if not isinstance(changes, dict):
        raise ValueError("expected a JSON object")  # noqa: TRY004  # the caller's input, not a caller's bug
    merged = {**dataclasses.asdict(current), **changes}  # type: ignore[call-overload]
    return TypeAdapter(type(current)).validate_python(merged)


def run(
    create_app: Callable[[], Starlette],
    address: Address,
    *,
    name: str,
    port_setting: str,
    http: type[H11Protocol] = H11Protocol,
) -> NoReturn:
    """Serve until SIGTERM, SIGINT or the parent's end, then exit with status 0; 2 if the port is taken."""
    threading.Thread(target=_end_with_parent, args=[os.getppid()], daemon=True).start()
    listener = listen(address, port_setting)
    for stop in (signal.SIGTERM, signal.SIGINT):
        # The server raises the signal again after its shutdown. No exception here: code could catch it.
        signal.signal(stop, lambda *_: os._exit(0))
    config = uvicorn.Config(
        create_app(),
        http=http,
        access_log=False,
        log_level="warning",
        lifespan="on",
        ws="none",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,  # type: ignore[arg-type]  # goes to asyncio as it is
    )
    host, port = listener.getsockname()[:2]
    _Server(config, f"{name} listens on http://{host}:{port}").run(sockets=[listener])
    sys.exit(0)


def _end_with_parent(parent: int) -> NoReturn:
    """End when the parent process has ended: a parent killed with -9 can't end this process."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECKED_EVERY_S)
    os._exit(0)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, greeting: str) -> None:
        super().__init__(config)
        self._greeting = greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Print the address once requests and signals are handled, not before."""
        await super().startup(sockets)
        print(self._greeting, flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop without a traceback for each call that the stop aborts."""
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)


def listen(address: Address, port_setting: str) -> socket.socket:
    """Bind and listen at once, so that of two servers that start together exactly one gets the port.

    The protocol is named because asyncio turns Nagle's delay off (40 ms an answer) only where it is.
    """
    family, kind, protocol, _, where = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
    )[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(where)
        listener.listen(BACKLOG)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        print(f"port {address.port} is taken: set {port_setting} to another one", file=sys.stderr)
        sys.exit(EXIT_USAGE)
    return listener


def state_file(state_dir: Path, name: str) -> Path:
    """Return the path of a file in the state directory, which is made if it is missing."""
    state_dir.mkdir(parents=True, exist_ok=True)
    return state_dir / name
