"""The signing API over HTTP: exactly one request per call.

No redirects, no proxies from the environment, no transport retries: httpx opens a connection again only
before anything was sent. `may_send` is called in httpcore's trace hook, when the connection is open and the
next thing is the first byte of the request.

The kernel must not send a call after it was given up: see `socket_options`.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx

from core.answers import Answer, Meaning, interpret, interpret_probe
from core.retry_after import parse_retry_after
from core.window import BLOCK_MS_MAX
from ports import Clock

BODY_BYTES_MAX = 65_536
CONNECTIONS_MAX = 100
KEEPALIVE_S = 20
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, zero seconds
USER_TIMEOUT_MIN_MS = 1_000  # the kernel needs time for an acknowledgement on a healthy link

SocketOption = tuple[int, int, int] | tuple[int, int, bytes]


def socket_options(grace_ms: int) -> list[SocketOption]:
    """Return the socket options that keep a call from arriving later than the grace after its time-out.

    Without them the kernel retransmits for a quarter of an hour after the connection is closed. A request
    that was written while the link was down would arrive later, after its slot was used again.

    - `SO_LINGER` with zero seconds: a close, or the process's end, discards unsent bytes and resets.
    - `TCP_USER_TIMEOUT`: the connection of a stopped process, which can't close it, ends after the grace.
    """
    options: list[SocketOption] = [(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)]
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux only
        timeout_ms = max(USER_TIMEOUT_MIN_MS, grace_ms)
        options.append((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms))
    return options


class _TooLate(Exception):
    """The send deadline has passed."""


class _Exchange:
    """The times of one request, from httpcore's trace events."""

    def __init__(self, clock: Clock, may_send: Callable[[], bool]) -> None:
        self._clock = clock
        self._may_send = may_send
        self.sent_mono_ms: int | None = None
        self.first_byte_mono_ms: int | None = None

    async def trace(self, name: str, _: dict[str, Any]) -> None:
        """Check `may_send` before the first byte of the request; record when the answer begins."""
        if name.endswith("send_request_headers.started"):
            if not self._may_send():
                raise _TooLate
            self.sent_mono_ms = self._clock.monotonic_ms()
        elif name.endswith("receive_response_headers.complete"):
            self.first_byte_mono_ms = self._clock.monotonic_ms()

    def answer(self, meaning: Meaning, **values: Any) -> Answer:
        """Return the answer with this exchange's times."""
        now_ms = self._clock.monotonic_ms()
        latency_ms = now_ms - self.sent_mono_ms if self.sent_mono_ms is not None else 0
        return Answer(meaning, first_byte_mono_ms=self.first_byte_mono_ms, latency_ms=latency_ms, **values)


class HttpUpstream:
    """A `ports.Upstream`. `key` is called for each request, so that a rotated key is used at once.

    `key_refused` is called after a 401 or 403, because the key may be an old one.
    `grace_ms`: how long after the time-out a call may still arrive (`Timing.grace_ms`).
    """

    def __init__(
        self,
        url: str,
        key: Callable[[], str],
        clock: Clock,
        key_refused: Callable[[], None] = lambda: None,
        *,
        grace_ms: int,
    ) -> None:
        self._url = url
        self._key = key
        self._key_refused = key_refused
        self._clock = clock
        # Created at the start: it loads forty modules and all certificates, which no caller should wait for.
        self._client = _new_client(grace_ms)

    async def sign(self, message: str, *, call_limit_ms: int, may_send: Callable[[], bool]) -> Answer:
        """Ask for a signature."""
        url = httpx.URL(f"{self._url}/crypto/sign?message={quote(message, safe='')}")
        exchange = _Exchange(self._clock, may_send)
        return await self._call(url, exchange, call_limit_ms, interpret)

    async def probe(self, *, call_limit_ms: int, may_send: Callable[[], bool]) -> Answer:
        """Ask the root path."""
        exchange = _Exchange(self._clock, may_send)
        return await self._call(
            httpx.URL(f"{self._url}/"), exchange, call_limit_ms, lambda status, _: interpret_probe(status)
        )

    async def _call(
        self,
        url: httpx.URL,
        exchange: _Exchange,
        call_limit_ms: int,
        meaning: Callable[[int, bytes], Meaning],
    ) -> Answer:
        """Make the one request within one total deadline, because httpx's own time-outs are per read."""
        try:
            async with asyncio.timeout(call_limit_ms / 1000):
                return await self._exchange(url, exchange, meaning)
        except (_TooLate, httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
            reason = "send_deadline" if isinstance(error, _TooLate) else type(error).__name__
            if exchange.sent_mono_ms is None:
                return exchange.answer(Meaning.NEVER_SENT, reason=reason)
            if exchange.first_byte_mono_ms is None:
                return exchange.answer(Meaning.UNANSWERED, reason=reason)
            return exchange.answer(Meaning.FAILED, reason=reason)  # an answer began, and broke off

    async def _exchange(
        self, url: httpx.URL, exchange: _Exchange, meaning: Callable[[int, bytes], Meaning]
    ) -> Answer:
        request = self._client.build_request(
            "GET", url, headers={"Authorization": self._key()}, extensions={"trace": exchange.trace}
        )
        response = await self._client.send(request, stream=True)
        try:
            body = await _read(response)
        finally:
            await response.aclose()
        status = response.status_code
        means = meaning(status, body)
        if means is Meaning.KEY_REFUSED:
            self._key_refused()
        return exchange.answer(
            means,
            status=status,
            signature=body.decode("ascii").strip() if means is Meaning.SIGNED else "",
            reason=f"upstream_{status}",
            retry_after_ms=parse_retry_after(
                response.headers.get("retry-after"), self._clock.now_ms(), BLOCK_MS_MAX
            ),
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def _new_client(grace_ms: int) -> httpx.AsyncClient:
    limits = httpx.Limits(
        max_connections=CONNECTIONS_MAX,
        max_keepalive_connections=CONNECTIONS_MAX,
        keepalive_expiry=KEEPALIVE_S,
    )
    return httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(
            trust_env=False, limits=limits, socket_options=socket_options(grace_ms)
        ),
        trust_env=False,
        follow_redirects=False,
        timeout=None,  # noqa: S113 - each call has one total deadline
    )


async def _read(response: httpx.Response) -> bytes:
    """Read at most `BODY_BYTES_MAX` of the answer; no signature is longer."""
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            break
    return body[:BODY_BYTES_MAX]
