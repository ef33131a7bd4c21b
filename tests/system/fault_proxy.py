"""Stands between the functions and what they call, and misbehaves on demand: one address per service.

It speaks just enough HTTP/1.1: one request at a time on a connection that is kept, bodies with a length.
Where a fault spoils only the answer, the request has reached the service: what it wrote there is written.
"""

import asyncio
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

SLOW_S = 1.5
DRIP_S = 1.0
HANG_S = 30.0
CLOSE_S = 0.1
RESET_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time
GARBAGE = b"<html>\xff\x00 a captive portal's page, of all things"


class Fault(StrEnum):
    """How a service can be out of order."""

    NONE = "none"
    REFUSES = "refuses"
    HANGS = "hangs"
    DRIPS = "drips"
    RESETS = "resets"
    SLOW = "slow"
    ERRORS = "errors"
    GARBAGE = "garbage"
    THROTTLES = "throttles"


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came, and when its first bytes did."""

    head: bytes
    body: bytes
    at_s: float

    @property
    def path(self) -> str:
        return self.head.split(b" ", 2)[1].decode()

    def header(self, name: str) -> str:
        """Return a header's value, empty if there is none."""
        start = f"{name.lower()}:".encode()
        lines = [line for line in self.head.split(b"\r\n") if line.lower().startswith(start)]
        return lines[0][len(start) :].strip().decode() if lines else ""

    def closing(self) -> bytes:
        """Return the request so that the service closes its connection after the answer."""
        return self._head_with(b"Connection: close") + self.body

    def _head_with(self, header: bytes) -> bytes:
        lines = [line for line in self.head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        return b"\r\n".join([*lines[:-2], header, b"", b""])


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request, and the answer that the service gave."""

    request: Request
    answer: bytes

    @property
    def status(self) -> int:
        return int(self.answer.split(b" ", 2)[1])

    @property
    def body(self) -> bytes:
        return self.answer.partition(b"\r\n\r\n")[2]


@dataclass
class Service:
    """One address of the proxy, and the service behind it."""

    name: str
    host: str
    port: int
    throttled: bytes
    fault: Fault = Fault.NONE
    proxy_port: int = 0
    requests: list[Request] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    _server: asyncio.Server | None = None
    _connections: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.proxy_port}"

    async def turn(self, fault: Fault) -> None:
        """Misbehave like this from now on, on connections that stand too."""
        self.fault = fault
        if fault is Fault.REFUSES:
            self._refuse()
        elif self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.proxy_port)
            self.proxy_port = self._server.sockets[0].getsockname()[1]

    def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in self._connections:
            connection.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):  # the end cancels all
            while (request := await _read_request(reader)) is not None:
                self.requests.append(request)
                if not await self._answer(request, writer):
                    break
        self._connections.discard(writer)
        writer.close()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; say whether the connection is of any further use."""
        match self.fault:
            case Fault.HANGS:
                await asyncio.sleep(HANG_S)
                return False
            case Fault.ERRORS:
                return await _write(writer, _response(500, b"Internal Server Error"))
            case Fault.GARBAGE:
                return await _write(writer, _response(200, GARBAGE))
            case Fault.THROTTLES:
                return await _write(writer, self.throttled)
        fault = self.fault
        answer = await self._forward(request)
        if fault is Fault.SLOW:
            await asyncio.sleep(SLOW_S)
        elif fault is Fault.DRIPS:
            for byte in answer:
                await _write(writer, bytes([byte]))
                await asyncio.sleep(DRIP_S)
        elif fault is Fault.RESETS:
            await _write(writer, answer[: len(answer) // 2])
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_ONCE)
            writer.transport.abort()
            return False
        return await _write(writer, answer) and b"content-length:" in answer.lower()

    async def _forward(self, request: Request) -> bytes:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            writer.write(request.closing())
            answer = await reader.read(-1)
        finally:
            writer.transport.abort()
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        whole = b"\r\n".join(lines) + b"\r\n\r\n" + body
        self.exchanges.append(Exchange(request, whole))
        return whole


class FaultProxy:
    """The proxy's services, on a loop and a thread of their own."""

    def __init__(self, targets: Mapping[str, str]) -> None:
        self.services = {name: _service(name, url) for name, url in targets.items()}
        self._loop = asyncio.new_event_loop()

    def turn(self, **faults: Fault) -> None:
        """Give each service named its fault, and all others none."""
        for name in self.services:
            self._call(self.services[name].turn(faults.get(name, Fault.NONE)))

    def _call(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(5)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve until the block ends."""
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        try:
            self.turn()
            yield
        finally:
            self.turn(**dict.fromkeys(self.services, Fault.REFUSES))
            self._call(self._cancel_all())
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(5)
            self._loop.close()

    async def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(CLOSE_S)  # transports close a moment later


def _service(name: str, url: str) -> Service:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    if name == "upstream":
        throttled = _response(429, b"Error 429: Too many requests", "Retry-After: 1")
    else:
        error = {"__type": "ThrottlingException", "message": "Rate exceeded"}
        request_id = "x-amzn-RequestId: 00000000-0000-0000-0000-000000000000"
        throttled = _response(400, json.dumps(error).encode(), request_id)
    return Service(name, parts.hostname, parts.port, throttled)


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    """Return the next request; None if there is none."""
    first = await reader.read(1)
    if not first:
        return None
    at_s = time.time()
    head = first + await reader.readuntil(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    length = int(lengths[0].split(b":")[1]) if lengths else 0
    return Request(head, await reader.readexactly(length), at_s)


def _response(status: int, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Fault", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def _write(writer: asyncio.StreamWriter, part: bytes) -> bool:
    writer.write(part)
    await writer.drain()
    return True
