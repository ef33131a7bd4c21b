"""A thin front for the emulator's REST API: one short address, the two-second promise, a fair queue.

`python -m infra.local.front --port 8000 --target http://127.0.0.1:4566/restapis/<id>/prod/_user_request_`;
every flag is also a variable `FRONT_…`. It forwards requests byte for byte.
"""

import asyncio
import os
import re
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Annotated, NoReturn
from uuid import UUID

import h11
import httpx
from pydantic import Field
from pydantic.dataclasses import dataclass
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from infra.local import serve

BODY_BYTES_MAX = 65_536
FORWARDED_CALL_MAX_S = 30  # the real gateway gives up after 29 s
KEEP_ALIVE_S = 2  # below any server's own, so that a reused connection is not one just being closed
START_HEADER = b"x-request-start"
ID_HEADER = b"x-request-id"
# RFC 9112: a request to a proxy names scheme and host before the path, and every server must take that too.
ABSOLUTE_FORM = re.compile(rb"https?://[^/]*", re.IGNORECASE)
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
NOT_FORWARDED = HOP_BY_HOP | {
    START_HEADER,
    ID_HEADER,
    b"expect",
}  # the body has been read, so `Expect` has no use
NOT_RETURNED = HOP_BY_HOP | {b"server", b"date"}  # the front's server sets its own date

RawHeaders = list[tuple[bytes, bytes]]


class RefusedError(Exception):
    """The front answers by itself; the message is for the caller."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Settings(serve.Address):
    """What the front starts with; `target` is known once the stack is deployed."""

    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    target: Annotated[str, Field(pattern=r"^http://[^?#]+$")]
    concurrency: Annotated[int, Field(ge=1, le=1_000)] = 12
    deadline_ms: Annotated[int, Field(ge=1, le=60_000)] = 1_950


class Front:
    """One ASGI application: stamps a request, waits for its turn, forwards it, answers in time."""

    def __init__(self, settings: Settings, client: httpx.AsyncClient, clock: Callable[[], float]) -> None:
        """Take the client that forwards; `clock` tells epoch seconds."""
        self._target = httpx.URL(settings.target.rstrip("/"))
        self._deadline_ms = settings.deadline_ms
        self._turns = asyncio.Semaphore(settings.concurrency)  # wakes waiters in the order of arrival
        self._forwarding: set[asyncio.Task[Response]] = set()
        self._client = client
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        arrived_ms = int(self._clock() * 1000)
        request_id = str(uuid7(arrived_ms))
        try:
            async with asyncio.timeout(self._deadline_ms / 1000):
                _refuse_two_lengths(request)
                forwarded = self._forwarded(request, await _body(request), arrived_ms, request_id)
                await self._turns.acquire()
                # Shielded: the request goes on after its caller stops waiting.
                answer = await asyncio.shield(self._start(forwarded))
        except RefusedError as error:
            return _problem(error.status, str(error), request_id)
        except (TimeoutError, ClientDisconnect):
            return _problem(503, "No answer in time. Please try again.", request_id)
        except httpx.TransportError:
            return _problem(503, "The service is not running. Please try again.", request_id)
        return _own_words(answer, request_id)

    def _forwarded(self, request: Request, body: bytes, arrived_ms: int, request_id: str) -> httpx.Request:
        path, query = ABSOLUTE_FORM.sub(b"", request.scope["raw_path"]), request.scope["query_string"]
        target = self._target.raw_path + (path or b"/") + (b"?" + query if query else b"")
        headers = _without(request.scope["headers"], NOT_FORWARDED)
        headers += [(START_HEADER, b"t=%d" % arrived_ms), (ID_HEADER, request_id.encode())]
        return httpx.Request(
            request.method,
            self._target,
            headers=headers,
            content=body or None,
            # The raw path: httpx.URL would normalize it. The timeout bounds only how long a turn is held.
            extensions={"target": target, "timeout": httpx.Timeout(FORWARDED_CALL_MAX_S).as_dict()},
        )

    def _start(self, forwarded: httpx.Request) -> asyncio.Task[Response]:
        task = asyncio.create_task(self._forward(forwarded))
        self._forwarding.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Response]) -> None:
        """Give the turn back, and retrieve the error: its caller may have gone."""
        self._forwarding.discard(task)
        self._turns.release()
        if not task.cancelled():
            task.exception()

    async def _forward(self, forwarded: httpx.Request) -> Response:
        answer = await self._client.send(forwarded, stream=True, follow_redirects=False)
        try:
            body = b"".join([chunk async for chunk in answer.aiter_raw()])
        finally:
            await answer.aclose()
        response = Response(body, status_code=answer.status_code)
        response.raw_headers = _without(answer.headers.raw, NOT_RETURNED)
        if body and "content-length" not in answer.headers:
            response.raw_headers.append((b"content-length", b"%d" % len(body)))
        return response


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise RefusedError(413, f"The body must have at most {BODY_BYTES_MAX} bytes.")
    return bytes(body)


def _refuse_two_lengths(request: Request) -> None:
    """Refuse two lengths: two servers could use different ones and see other requests (RFC 9112, 6.1)."""
    if {"content-length", "transfer-encoding"} <= {*request.headers}:
        raise RefusedError(400, "Send Content-Length or Transfer-Encoding, not both.")


def _own_words(answer: Response, request_id: str) -> Response:
    """Return the function's answer unchanged, and a problem instead of the emulator's own errors."""
    if answer.status_code < 400 or _names_a_request(answer):  # noqa: PLR2004
        return answer
    if answer.status_code >= 500:  # noqa: PLR2004
        return _problem(503, "The service is not running. Please try again.", request_id)
    return _problem(answer.status_code, "The gateway has no such path or method.", request_id)


def _names_a_request(answer: Response) -> bool:
    """Whether the body has a `request_id`: all errors of the function have, except those without a body."""
    return not answer.body or b'"request_id"' in bytes(answer.body)


def _without(headers: Iterable[tuple[bytes, bytes]], unwanted: frozenset[bytes]) -> RawHeaders:
    """Drop the unwanted headers, and those that `Connection` names."""
    pairs = [(name.lower(), value) for name, value in headers]
    named = {
        word.strip().lower() for name, value in pairs if name == b"connection" for word in value.split(b",")
    }
    return [(name, value) for name, value in pairs if name not in unwanted | named]


def _problem(status: int, detail: str, request_id: str) -> JSONResponse:
    """Answer in the service's own shape (RFC 9457 plus `request_id` and `message`)."""
    return JSONResponse(
        {
            "request_id": request_id,
            "status": status,
            "type": "about:blank",
            "title": HTTPStatus(status).phrase,
            "detail": detail,
            "message": detail,
        },
        status_code=status,
        media_type="application/problem+json",
        headers={"Retry-After": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else {},
    )


class ProblemProtocol(H11Protocol):
    """Uvicorn's protocol, but input that is not HTTP is also answered with a problem."""

    def send_400_response(self, msg: str) -> None:
        """Answer and close: further bytes could belong to this request or to the next."""
        answer = _problem(400, msg, str(uuid7(time.time_ns() // 1_000_000)))
        headers = [*answer.raw_headers, (b"connection", b"close")]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def uuid7(now_ms: int) -> UUID:
    """Make an RFC 9562 UUID that sorts by time: 48 bits of milliseconds, then random ones."""
    random_bits = secrets.randbits(74)
    return UUID(
        int=now_ms << 80 | 0x7 << 76 | (random_bits >> 62) << 64 | 0b10 << 62 | random_bits & (1 << 62) - 1
    )


def _new_client(concurrency: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        trust_env=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # one caller's cookie is not another's
        limits=httpx.Limits(
            max_connections=concurrency,
            max_keepalive_connections=concurrency,
            keepalive_expiry=KEEP_ALIVE_S,
        ),
    )


def create_app(
    settings: Settings,
    *,
    client: httpx.AsyncClient | None = None,
    clock: Callable[[], float] = time.time,
) -> Starlette:
    """Build the front; the client closes with it."""
    forwarding_client = client or _new_client(settings.concurrency)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with forwarding_client:
            yield

    return _everything_to(Front(settings, forwarding_client, clock), lifespan)


def _everything_to(
    front: Front, lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]]
) -> Starlette:
    """Use no routes: patterns would miss some paths, such as one with a line break."""
    app = Starlette(lifespan=lifespan)
    app.router.default = front
    return app


def main(argv: Sequence[str]) -> NoReturn:
    """Run the front until a signal stops it."""
    settings = serve.parse(Settings, "FRONT", argv, os.environ)
    serve.run(
        lambda: create_app(settings),
        settings,
        name="API front",
        port_setting="API_PORT",
        http=ProblemProtocol,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
