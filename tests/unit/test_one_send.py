"""The upstream adapter over real sockets: one permit, one request, whatever the server does."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from httpcore import AnyIOBackend, AsyncNetworkStream

from adapters.clock import SystemClock
from adapters.upstream import BODY_BYTES_MAX, HttpUpstream, socket_options
from core.answers import Answer, Meaning

CALL_LIMIT_MS = 10_000
GRACE_MS = 10_000
SHORT_LIMIT_MS = 500  # for what ends by it
SIGNATURE = "A" * 172
LINGER_NONE = struct.pack("ii", 1, 0)  # closing resets

Server = Callable[["Wire"], Awaitable[None]]


@dataclass
class Wire:
    """One connection, as the server sees it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    log: "Log"

    async def request(self) -> None:
        """Read one request and count it."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.log.requests.append(head)

    async def answer(self, status: str, *headers: str, body: str = "") -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", body]
        self.writer.write("\r\n".join(lines).encode())
        await self.writer.drain()

    def reset(self) -> None:
        connection: socket.socket = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
        self.writer.close()


@dataclass
class Log:
    """What arrived: whole requests, and any byte at all."""

    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)

    @property
    def targets(self) -> list[str]:
        return [request.split(b" ")[1].decode() for request in self.requests]


@asynccontextmanager
async def serving(behave: Server) -> AsyncIterator[tuple[HttpUpstream, Log]]:
    """Serve every connection so, and yield an upstream adapter that calls it."""
    log = Log()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        log.connections += 1
        try:
            await behave(Wire(reader, writer, log))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client left
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    log.port = server.sockets[0].getsockname()[1]
    upstream = HttpUpstream(f"http://127.0.0.1:{log.port}", lambda: "key", SystemClock(), grace_ms=GRACE_MS)
    try:
        yield upstream, log
        await asyncio.sleep(0.02)  # time for a request that should not be
    finally:
        await upstream.aclose()
        server.close()


async def sign(
    upstream: HttpUpstream, message: str = "m", *, may_send: bool = True, call_limit_ms: int = CALL_LIMIT_MS
) -> Answer:
    return await upstream.sign(message, call_limit_ms=call_limit_ms, may_send=lambda: may_send)


async def drops(wire: Wire) -> None:
    await wire.request()


async def resets(wire: Wire) -> None:
    await wire.request()
    wire.reset()


async def half_closes(wire: Wire) -> None:
    await wire.request()
    wire.writer.write_eof()
    await wire.reader.read()


async def says_nothing(wire: Wire) -> None:
    await wire.request()
    await wire.reader.read()


async def breaks_off_in_the_status_line(wire: Wire) -> None:
    await wire.request()
    wire.writer.write(b"HTTP/1.1 20")


async def breaks_off_in_the_body(wire: Wire) -> None:
    await wire.request()
    wire.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 172\r\n\r\nAAAA")


async def drips(wire: Wire) -> None:
    await wire.request()
    wire.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 172\r\n\r\n")
    while not wire.reader.at_eof():
        wire.writer.write(b"A")
        await wire.writer.drain()
        await asyncio.sleep(0.05)


async def is_no_http(wire: Wire) -> None:
    await wire.request()
    wire.writer.write(b"what?\r\n\r\n")


def answers(status: str, *headers: str, body: str = "") -> Server:
    async def behave(wire: Wire) -> None:
        while True:
            await wire.request()
            await wire.answer(status, *headers, body=body)

    return behave


SERVERS: dict[str, tuple[Server, Meaning, bool]] = {
    "drops the connection": (drops, Meaning.UNANSWERED, False),
    "resets the connection": (resets, Meaning.UNANSWERED, False),
    "half-closes": (half_closes, Meaning.UNANSWERED, False),
    "says nothing": (says_nothing, Meaning.UNANSWERED, False),
    "breaks off in the status line": (breaks_off_in_the_status_line, Meaning.UNANSWERED, False),
    "speaks no HTTP": (is_no_http, Meaning.UNANSWERED, False),
    "breaks off in the body": (breaks_off_in_the_body, Meaning.FAILED, True),
    "drips": (drips, Meaning.FAILED, True),
    "200": (answers("200 OK", body=SIGNATURE), Meaning.SIGNED, True),
    "502": (answers("502 Bad Gateway", body="Error 502"), Meaning.FAILED, True),
    "503 with Retry-After": (answers("503 Unavailable", "Retry-After: 0"), Meaning.FAILED, True),
    "429 with Retry-After": (answers("429 Too Many", "Retry-After: 0"), Meaning.LIMITED, True),
    "307": (answers("307 Temporary Redirect", "Location: /crypto/sign?message=m"), Meaning.FAILED, True),
    "401": (answers("401 Unauthorized", "WWW-Authenticate: Basic"), Meaning.KEY_REFUSED, True),
    "408": (answers("408 Request Timeout", "Connection: close"), Meaning.FAILED, True),
    "421": (answers("421 Misdirected Request"), Meaning.FAILED, True),
}


@pytest.mark.parametrize(("behave", "meaning", "answered"), SERVERS.values(), ids=SERVERS)
async def test_one_call_is_one_request(behave: Server, meaning: Meaning, answered: bool) -> None:
    """Exactly one arrives, and the window is told of an answer only if one began."""
    limit_ms = SHORT_LIMIT_MS if behave in {says_nothing, drips} else CALL_LIMIT_MS
    async with serving(behave) as (upstream, log):
        answer = await sign(upstream, call_limit_ms=limit_ms)
    assert len(log.requests) == 1
    assert answer.meaning is meaning
    assert (answer.first_byte_mono_ms is not None) is answered


@pytest.mark.parametrize("ending", [drops, resets, half_closes])
async def test_a_reused_connection_that_ends_costs_no_second_request(ending: Server) -> None:
    """Some libraries repeat a GET when a kept connection drops; the fate of the first is unknown."""

    async def behave(wire: Wire) -> None:
        await wire.request()
        await wire.answer("200 OK", body=SIGNATURE)
        await ending(wire)

    async with serving(behave) as (upstream, log):
        assert (await sign(upstream)).meaning is Meaning.SIGNED
        assert (await sign(upstream)).meaning is Meaning.UNANSWERED
    assert (len(log.requests), log.connections) == (2, 1)


async def test_a_connection_that_ended_meanwhile_is_not_used() -> None:
    """A call on a new connection instead: still one request."""

    async def behave(wire: Wire) -> None:
        await wire.request()
        await wire.answer("200 OK", body=SIGNATURE)

    async with serving(behave) as (upstream, log):
        await sign(upstream)
        await asyncio.sleep(0.05)
        assert (await sign(upstream)).meaning is Meaning.SIGNED
    assert (len(log.requests), log.connections) == (2, 2)


async def test_no_byte_goes_out_too_late() -> None:
    """The question is asked when the connection stands: refused then, nothing of the request is sent."""
    seen = list[bytes]()

    async def behave(wire: Wire) -> None:
        with contextlib.suppress(ConnectionResetError):
            seen.append(await wire.reader.read(1))

    async with serving(behave) as (upstream, log):
        answer = await sign(upstream, may_send=False)
    assert (answer.meaning, answer.reason) == (Meaning.NEVER_SENT, "send_deadline")
    assert (log.connections, seen) == (1, [])


async def test_no_byte_goes_out_too_late_on_a_reused_connection() -> None:
    """The question is asked for every request, not for every connection."""
    async with serving(answers("200 OK", body=SIGNATURE)) as (upstream, log):
        await sign(upstream)
        assert (await sign(upstream, may_send=False)).meaning is Meaning.NEVER_SENT
        assert (await sign(upstream)).meaning is Meaning.SIGNED
    assert len(log.requests) == 2


async def test_where_nobody_listens_nothing_was_sent() -> None:
    """The slot can be given back."""
    async with serving(drops) as (_, log):
        pass
    upstream = HttpUpstream(f"http://127.0.0.1:{log.port}", lambda: "key", SystemClock(), grace_ms=GRACE_MS)
    answer = await sign(upstream)
    await upstream.aclose()
    assert (answer.meaning, answer.first_byte_mono_ms) == (Meaning.NEVER_SENT, None)


async def test_an_endless_answer_is_cut_off() -> None:
    """Nothing longer than a signature is read to its end."""
    async with serving(answers("200 OK", body="A" * (4 * BODY_BYTES_MAX))) as (upstream, log):
        assert (await sign(upstream)).meaning is Meaning.FAILED
    assert len(log.requests) == 1


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy might repeat a request, or answer in the upstream's place."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with serving(answers("200 OK", body=SIGNATURE)) as (upstream, log):
        assert (await sign(upstream)).meaning is Meaning.SIGNED
    assert len(log.requests) == 1


@pytest.mark.parametrize(
    ("message", "encoded"),
    [
        ("a b", "a%20b"),
        ("1+1", "1%2B1"),
        ("a&b=c#d?e/f", "a%26b%3Dc%23d%3Fe%2Ff"),
        ("100%", "100%25"),
        ("%20", "%2520"),
        ("é", "%C3%A9"),
        ("e\u0301", "e%CC%81"),
        ("🔏", "%F0%9F%94%8F"),
        ("\r\nX: y\x00", "%0D%0AX%3A%20y%00"),
        ("'\"<>~", "%27%22%3C%3E~"),
        ("..", ".."),
    ],
)
async def test_the_message_arrives_as_its_exact_bytes(message: str, encoded: str) -> None:
    """A space is %20, never a plus; a plus is %2B; nothing is normalised."""
    async with serving(answers("200 OK", body=SIGNATURE)) as (upstream, log):
        await sign(upstream, message)
    assert log.targets == [f"/crypto/sign?message={encoded}"]


async def test_the_key_is_sent_bare_and_fetched_for_each_call() -> None:
    """Without `Bearer`; a rotated key is used at once."""
    keys = iter(["first", "second"])
    async with serving(answers("200 OK", body=SIGNATURE)) as (_, log):
        upstream = HttpUpstream(
            f"http://127.0.0.1:{log.port}", lambda: next(keys), SystemClock(), grace_ms=GRACE_MS
        )
        await sign(upstream)
        await sign(upstream)
        await upstream.aclose()
    assert [b"Authorization: first" in log.requests[0], b"Authorization: second" in log.requests[1]] == [
        True
    ] * 2


async def test_the_probe_asks_the_root() -> None:
    """A welcome says that the key is good."""
    async with serving(answers("200 OK", body="Welcome")) as (upstream, log):
        answer = await upstream.probe(call_limit_ms=CALL_LIMIT_MS, may_send=lambda: True)
    assert (answer.meaning, log.targets) == (Meaning.WELCOME, ["/"])


async def test_a_refused_key_is_told() -> None:
    """Of each 401, and of nothing else: whoever keeps the key has it fetched anew."""
    told: list[int] = []
    async with serving(answers("401 Unauthorized", body="no")) as (_, log):
        upstream = HttpUpstream(
            f"http://127.0.0.1:{log.port}",
            lambda: "key",
            SystemClock(),
            lambda: told.append(1),
            grace_ms=GRACE_MS,
        )
        assert (await sign(upstream)).meaning is Meaning.KEY_REFUSED
        await upstream.aclose()
    async with serving(answers("200 OK", body=SIGNATURE)) as (_, log):
        upstream = HttpUpstream(
            f"http://127.0.0.1:{log.port}",
            lambda: "key",
            SystemClock(),
            lambda: told.append(1),
            grace_ms=GRACE_MS,
        )
        await sign(upstream)
        await upstream.aclose()
    assert told == [1]


async def test_a_call_that_is_given_up_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the real socket: closing resets, and the kernel gives up within the grace. See docs/window.md."""
    seen: list[tuple[bytes, int]] = []
    connect_tcp = AnyIOBackend.connect_tcp

    async def watched(self: AnyIOBackend, *args: Any, **kwargs: Any) -> AsyncNetworkStream:
        stream = await connect_tcp(self, *args, **kwargs)
        connection = stream.get_extra_info("socket")
        linger = connection.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(LINGER_NONE))
        seen.append((linger, connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)))
        return stream

    monkeypatch.setattr(AnyIOBackend, "connect_tcp", watched)
    async with serving(answers("200 OK", body=SIGNATURE)) as (upstream, _):
        await sign(upstream)
    assert seen == [(LINGER_NONE, GRACE_MS)]


async def test_the_server_sees_the_reset_of_a_call_that_is_given_up() -> None:
    """Not an orderly end, after which the kernel would go on delivering what it holds."""
    endings: list[str] = []

    async def behave(wire: Wire) -> None:
        await wire.request()
        try:
            await wire.reader.read()
            endings.append("closed in order")
        except ConnectionResetError:
            endings.append("reset")

    async with serving(behave) as (upstream, _):
        await sign(upstream, call_limit_ms=SHORT_LIMIT_MS)
    assert endings == ["reset"]


def test_a_grace_of_zero_leaves_the_kernel_a_second() -> None:
    """A late acknowledgement must not end a healthy connection; 0 would mean the system's minutes."""
    assert (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1_000) in socket_options(grace_ms=0)
