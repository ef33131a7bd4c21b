import asyncio
import gzip
import json
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest
from starlette.applications import Starlette

from infra.local import front, serve

TARGET = "http://emulator:4566/restapis/id/prod/_user_request_"
NOW_S = 1_700_000_000.123
Handler = Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]


def answer_with(
    status: int, headers: list[tuple[str, str]] | None = None, body: bytes = b""
) -> httpx.Response:
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))


def app_over(handler: Handler, **settings: Any) -> Starlette:
    client = httpx.AsyncClient(transport=httpx.MockTransport(handler))
    return front.create_app(front.Settings(target=TARGET, **settings), client=client, clock=lambda: NOW_S)


@asynccontextmanager
async def running_front(handler: Handler, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app_over(handler, **settings))
    async with httpx.AsyncClient(transport=transport, base_url="http://front") as client:
        yield client


class Emulator:
    """Answers when it is told to, and remembers what it got."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.finished: list[str] = []
        self.has_request = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.has_request.set()
        await self.may_answer.wait()
        self.finished.append(request.extensions["target"].decode())
        return answer_with(200, body=b"done")


async def serve_once(app: Starlette, raw_path: bytes, query: bytes) -> None:
    """Call the application as a server does, with bytes that an HTTP client would tidy."""
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "raw_path": raw_path,
        "query_string": query,
        "headers": [],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: Any) -> None:
        pass

    await app(scope, receive, send)


@pytest.mark.parametrize(
    ("raw_path", "query", "expected"),
    [
        (b"/crypto/sign", b"message=a+b%2Bc%20%c3%a9&&x=|^", b"/crypto/sign?message=a+b%2Bc%20%c3%a9&&x=|^"),
        (b"/a/../%2e%2e//b%0A", b"", b"/a/../%2e%2e//b%0A"),
        (b"http://front:8000/crypto/sign", b"message=a", b"/crypto/sign?message=a"),
        (b"HTTPS://front", b"message=a", b"/?message=a"),
    ],
)
async def test_path_and_query_pass_byte_for_byte(raw_path: bytes, query: bytes, expected: bytes) -> None:
    """Nothing is decoded, re-encoded or tidied on the way: the function judges what the caller sent."""
    emulator = Emulator()
    emulator.may_answer.set()
    await serve_once(app_over(emulator), raw_path, query)
    assert emulator.requests[0].extensions["target"] == b"/restapis/id/prod/_user_request_" + expected


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "DELETE", "PURGE"])
async def test_every_method_passes(method: str) -> None:
    """The front has no opinion on methods: the API answers them."""

    async def echo(request: httpx.Request) -> httpx.Response:
        return answer_with(405, [("Allow", "GET"), ("X-Method", request.method)])

    async with running_front(echo) as client:
        answer = await client.request(method, "/x")
    assert (answer.status_code, answer.headers["x-method"]) == (405, method)


async def test_the_request_passes_with_its_arrival_time() -> None:
    """Headers and body arrive, repeated ones too; the caller can't set the arrival time."""
    emulator = Emulator()
    emulator.may_answer.set()
    headers = [
        ("Authorization", "k"),
        ("X-Two", "1"),
        ("X-Two", "2"),
        ("X-Request-Start", "t=1"),
        ("X-Request-Id", "1"),
    ]
    hop_by_hop = [("Connection", "keep-alive, X-Mine"), ("X-Mine", "1"), ("TE", "trailers")]
    async with running_front(emulator) as client:
        await client.post("/x", headers=headers + hop_by_hop, content=b"\x00body")
    got = emulator.requests[0]
    assert got.content == b"\x00body"
    assert got.headers.get_list("x-two") == ["1", "2"]
    assert got.headers.get_list("x-request-start") == ["t=1700000000123"]
    (request_id,) = got.headers.get_list("x-request-id")
    assert UUID(request_id).int >> 80 == 1_700_000_000_123
    assert (got.headers["authorization"], got.headers["host"]) == ("k", "front")
    assert not {"connection", "x-mine", "te"} & set(got.headers)


async def test_the_answer_passes_without_what_is_not_the_callers() -> None:
    """Status, body and headers come back, a redirect is not followed, the emulator's name stays inside."""

    async def redirect(_request: httpx.Request) -> httpx.Response:
        headers = [("Location", "/y"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Server", "emulator")]
        return answer_with(307, headers, b"moved")

    async with running_front(redirect) as client:
        answer = await client.get("/x")
    assert (answer.status_code, answer.text, answer.headers["location"]) == (307, "moved", "/y")
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert "server" not in answer.headers


async def test_at_most_so_many_are_forwarded_and_in_the_order_they_came() -> None:
    """The next in line goes when one has ended, and nobody overtakes."""
    emulator = Emulator()
    async with running_front(emulator, concurrency=2) as client:
        calls = []
        for number in range(6):
            calls.append(asyncio.create_task(client.get(f"/{number}")))
            await asyncio.sleep(0.005)
        assert len(emulator.requests) == 2
        emulator.may_answer.set()
        await asyncio.gather(*calls)
    order = [request.extensions["target"][-1:] for request in emulator.requests]
    assert order == [b"0", b"1", b"2", b"3", b"4", b"5"]


async def test_who_stops_waiting_does_not_stop_the_request() -> None:
    """At the deadline the caller gets a 503; the forwarded call goes on, and only its end frees its place."""
    emulator = Emulator()
    async with running_front(emulator, concurrency=1, deadline_ms=500) as client:
        late = await client.get("/first")
        queued = await client.get("/second")
        assert (late.status_code, queued.status_code) == (503, 503)
        assert (len(emulator.requests), emulator.finished) == (1, [])
        emulator.may_answer.set()
        assert (await client.get("/third")).status_code == 200
    assert [target.rpartition("/")[2] for target in emulator.finished] == ["first", "third"]


async def test_a_caller_that_goes_away_does_not_stop_the_request() -> None:
    """A cancelled caller leaves its forwarded call running to its end."""
    emulator = Emulator()
    async with running_front(emulator) as client:
        caller = asyncio.create_task(client.get("/x"))
        await emulator.has_request.wait()
        caller.cancel()
        await asyncio.wait({caller})
        emulator.may_answer.set()
        await client.get("/y")
    assert len(emulator.finished) == 2


async def test_a_stopped_emulator_is_a_503_in_the_services_own_shape() -> None:
    """The body has the request's id and the status, as every other answer, and says when to try again."""

    async def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async with running_front(refuse) as client:
        answer = await client.get("/x")
    body = json.loads(answer.content)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(body) == {"request_id", "status", "type", "title", "detail", "message"}
    assert body["status"] == 503
    request_id = UUID(body["request_id"])
    assert (request_id.version, request_id.variant) == (7, "specified in RFC 4122")
    assert request_id.int >> 80 == 1_700_000_000_123


async def test_a_late_answer_has_the_id_that_a_webhook_would_carry() -> None:
    """The function is given the id with which the front answers in its place."""
    emulator = Emulator()
    async with running_front(emulator, deadline_ms=30) as client:
        late = await client.get("/x")
        emulator.may_answer.set()
    assert late.status_code == 503
    assert late.json()["request_id"] == emulator.requests[0].headers["x-request-id"]


@pytest.mark.parametrize(("status", "shown"), [(403, 403), (404, 404), (500, 503), (502, 503)])
async def test_the_emulator_s_own_errors_are_put_in_the_service_s_shape(status: int, shown: int) -> None:
    """A worker that died, a method that nobody declared: callers get a problem with an id all the same."""

    async def speak_for_itself(_request: httpx.Request) -> httpx.Response:
        return answer_with(status, [("Content-Type", "application/json")], b'{"message": "Worker died"}')

    async with running_front(speak_for_itself) as client:
        answer = await client.get("/x")
    assert answer.status_code == shown == answer.json()["status"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert UUID(answer.json()["request_id"]).version == 7


@pytest.mark.parametrize("status", [501, 404])
async def test_no_error_is_a_page(status: int) -> None:
    """The function's pages are answers of 200, so an HTML error is the emulator's."""

    async def fail(_request: httpx.Request) -> httpx.Response:
        return answer_with(status, [("Content-Type", "text/html")], b"<h1>gone</h1>")

    async with running_front(fail) as client:
        answer = await client.get("/x")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_the_function_s_errors_pass() -> None:
    """An error that has a `request_id` is the function's."""
    body = b'{"request_id":"1","status":502}'

    async def fail(_request: httpx.Request) -> httpx.Response:
        return answer_with(502, [("Content-Type", "application/problem+json")], body)

    async with running_front(fail) as client:
        answer = await client.get("/x")
    assert (answer.status_code, answer.content) == (502, body)


async def test_two_lengths_are_refused() -> None:
    """Transfer-Encoding beside Content-Length is how requests are smuggled: nothing is forwarded."""
    emulator = Emulator()
    headers = {"Content-Length": "4", "Transfer-Encoding": "chunked"}
    async with running_front(emulator) as client:
        answer = await client.post("/x", headers=headers, content=b"body")
    assert (answer.status_code, answer.json()["status"]) == (400, 400)
    assert emulator.requests == []


async def test_an_error_after_the_deadline_frees_its_place() -> None:
    """A forwarded call that fails when nobody waits any more is not lost capacity, nor an unseen error."""
    may_fail = asyncio.Event()

    async def fail(request: httpx.Request) -> httpx.Response:
        await may_fail.wait()
        raise httpx.ReadError("gone", request=request)

    async with running_front(fail, concurrency=1, deadline_ms=300) as client:
        await client.get("/x")
        may_fail.set()
        answer = await client.get("/y")
    assert answer.json()["detail"] == "The service is not running. Please try again."


async def test_a_compressed_answer_passes_as_it_is() -> None:
    """Bytes are neither unpacked nor measured anew, so length and encoding still fit them."""
    packed = gzip.compress(b"signature")

    async def compressed(_request: httpx.Request) -> httpx.Response:
        return answer_with(200, [("Content-Encoding", "gzip")], packed)

    async with running_front(compressed) as client:
        answer = await client.get("/x")
    assert (answer.content, answer.headers["content-length"]) == (b"signature", str(len(packed)))


@pytest.mark.parametrize(("size", "expected"), [(65_536, 200), (65_537, 413)])
async def test_the_body_has_a_limit(size: int, expected: int) -> None:
    """Exactly the limit passes; one byte more is refused and goes no further."""
    emulator = Emulator()
    emulator.may_answer.set()
    async with running_front(emulator) as client:
        answer = await client.post("/x", content=b"a" * size)
    assert expected == answer.status_code
    assert len(emulator.requests) == (expected == 200)


async def test_answers_leave_without_nagles_delay() -> None:
    """Every connection that a local server accepts sends at once: the delay would cost 40 ms an answer."""
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def on_connect(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        accepted.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listener = serve.listen(serve.Address(port=0), "API_PORT")
    server = await asyncio.start_server(on_connect, sock=listener)
    async with server:
        _, writer = await asyncio.open_connection(*listener.getsockname())
        assert await accepted
        writer.close()
