"""Posts one webhook, once, within a deadline, to an address that the egress policy allows.

This uses httpcore, the engine below httpx, directly. So the URL that was checked is the one that is sent,
without a second URL parser; and there are no redirects, cookies, proxies from the environment or
decompression.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import zip_longest
from typing import Any

import certifi
import httpcore

from core.egress import Policy, Target, Verdict, classify_address, classify_url
from core.errors import RelayError
from core.webhook import EGRESS_REASON_PREFIX, PostResult, excerpt

ANSWER_BYTES_MAX = 64 * 1024
DEADLINE_S = 15.0
RESOLVE_LIMIT_S = 5.0
CONNECT_TIMEOUT_S = 5.0  # per address
STAGGER_S = 0.25  # RFC 8305's connection attempt delay
RESOLVER_THREADS = 400  # as many as webhooks in one process: names that hang must not hold up others

# A time-out is an OSError, and so is every error of an established TLS connection.
BROKEN = (OSError, httpcore.NetworkError, httpcore.ProtocolError)

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a name and a port to every address it has; OSError if it has none."""
Connecting = asyncio.Future[httpcore.AsyncNetworkStream]


class ThreadResolver:
    """The system's resolver, in its own threads, so that names that hang don't block other work."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolver")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return every address, in the system's order of preference."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _look_up, host, port)
        return list(dict.fromkeys(str(socket_address[0]) for *_, socket_address in found))


def _look_up(host: str, port: int) -> list[Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class NoAnswerError(RelayError):
    """There is no answer; the message is the reason."""


class PinnedBackend(httpcore.AsyncNetworkBackend):
    """Connects to the given addresses only; the host name of the request is not resolved again.

    As RFC 8305 says: the next address is tried when one has failed or has not answered for a quarter of a
    second, IPv6 and IPv4 in turn, and the first connection is used.
    """

    def __init__(self, network: httpcore.AsyncNetworkBackend, addresses: Sequence[str]) -> None:
        self._network = network
        self._addresses = in_turn(addresses)

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - the name is for TLS; it was resolved and judged before
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Return the first connection that succeeds; raises the last address's failure if none does."""

        def connect(address: str) -> Connecting:
            connecting = self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            return asyncio.ensure_future(connecting)

        left, under_way = list(self._addresses), set[Connecting]()
        failure: BaseException = httpcore.ConnectError("no address")
        try:
            while left or under_way:
                if left:
                    under_way.add(connect(left.pop(0)))
                done, under_way = await asyncio.wait(
                    under_way, timeout=STAGGER_S if left else None, return_when=asyncio.FIRST_COMPLETED
                )
                for connected in done:
                    failure = connected.exception() or failure
                    if not connected.exception():
                        under_way |= done - {connected}
                        return connected.result()
        finally:
            await _drop(under_way)
        raise failure


async def _drop(connecting: Iterable[Connecting]) -> None:
    """Close the connections that are not used: those being opened, and those open already."""
    for each in connecting:
        each.cancel()
    for stream in await asyncio.gather(*connecting, return_exceptions=True):
        if isinstance(stream, httpcore.AsyncNetworkStream):
            await stream.aclose()


def in_turn(addresses: Sequence[str]) -> list[str]:
    """Return the addresses with IPv6 and IPv4 in turn, beginning with the system's first choice."""
    is_first_kind = [(":" in address) is (":" in addresses[0]) for address in addresses]
    first = [address for address, is_first in zip(addresses, is_first_kind, strict=True) if is_first]
    second = [address for address, is_first in zip(addresses, is_first_kind, strict=True) if not is_first]
    pairs = zip_longest(first, second)
    return [address for pair in pairs for address in pair if address is not None]


# From httpcore's trace events to the reason if the request gets no further.
REASON_AFTER_EVENT = {
    "connection.connect_tcp.started": "connect_refused",
    "connection.start_tls.started": "tls_failure",
    "http11.send_request_headers.started": "protocol_error",
}


class Progress:
    """How far a request got: the reason, if it goes no further."""

    def __init__(self) -> None:
        self.reason = "connect_refused"

    async def __call__(self, event: str, _info: Mapping[str, Any]) -> None:
        """Follow one event."""
        self.reason = REASON_AFTER_EVENT.get(event, self.reason)


def _trusting_context() -> ssl.SSLContext:
    """Trust the system's certificate authorities and certifi's, because a slim image may have none."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


@dataclass(frozen=True)
class HttpPoster:
    """A `ports.Poster`. It opens a new connection for each post."""

    policy: Policy
    version: str
    deadline_s: float = DEADLINE_S
    resolve_limit_s: float = RESOLVE_LIMIT_S
    resolver: Resolver = field(default_factory=ThreadResolver)
    network: httpcore.AsyncNetworkBackend = field(default_factory=httpcore.AnyIOBackend)
    make_tls: Callable[[], ssl.SSLContext] = _trusting_context

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self.make_tls()  # reading the trust store takes 20 ms: once, and not at a cold start

    async def resolve(self, url: str) -> Sequence[str] | PostResult:
        """Return the addresses that may be called for a URL, or why there is none."""
        try:
            async with asyncio.timeout(self.resolve_limit_s):
                return await self._judged_addresses(self._judged_target(url))
        except NoAnswerError as failure:
            return PostResult(None, str(failure), None, "")
        except (TimeoutError, OSError):
            return PostResult(None, "dns_failure", None, "")

    async def post(
        self, url: str, addresses: Sequence[str], headers: Mapping[str, str], body: bytes
    ) -> PostResult:
        """Send a webhook to one of the addresses from `resolve`. Errors are returned as a `PostResult`."""
        progress = Progress()
        try:
            return await self._post(self._judged_target(url), addresses, headers, body, progress)
        except NoAnswerError as failure:
            return PostResult(None, str(failure), None, "")
        except (TimeoutError, httpcore.TimeoutException):
            return PostResult(None, "timeout", None, "")
        except BROKEN:
            return PostResult(None, progress.reason, None, "")

    async def _post(
        self,
        target: Target,
        addresses: Sequence[str],
        headers: Mapping[str, str],
        body: bytes,
        progress: Progress,
    ) -> PostResult:
        end = asyncio.get_running_loop().time() + self.deadline_s
        async with contextlib.AsyncExitStack() as stack:
            async with asyncio.timeout_at(end):
                sending = self._sending(target, addresses, headers, body, progress)
                answer = await stack.enter_async_context(sending)
            # The status decides the outcome, even if the body breaks off.
            beginning = bytearray()
            with contextlib.suppress(*BROKEN):
                async with asyncio.timeout_at(end):
                    await _read_into(beginning, answer)
        return PostResult(
            answer.status, f"http_{answer.status}", _retry_after(answer), excerpt(bytes(beginning))
        )

    def _judged_target(self, url: str) -> Target:
        judged = classify_url(url, self.policy)
        if isinstance(judged, Verdict):
            raise NoAnswerError(f"{EGRESS_REASON_PREFIX}{judged}")
        return judged

    async def _judged_addresses(self, target: Target) -> Sequence[str]:
        """Resolve a name. One refused address refuses the name, since an attacker could choose that one."""
        if target.address:
            return [target.address]
        try:
            addresses = await self.resolver(target.host, target.port)
        except socket.gaierror:
            raise NoAnswerError("dns_failure") from None
        if not addresses:
            raise NoAnswerError("dns_failure")
        for address in addresses:
            verdict = classify_address(address, self.policy)
            if verdict is not Verdict.ALLOW:
                raise NoAnswerError(f"{EGRESS_REASON_PREFIX}{verdict}")
        return addresses

    @contextlib.asynccontextmanager
    async def _sending(
        self,
        target: Target,
        addresses: Sequence[str],
        headers: Mapping[str, str],
        body: bytes,
        progress: Progress,
    ) -> AsyncIterator[httpcore.Response]:
        url = httpcore.URL(
            scheme=target.scheme, host=target.host, port=target.port, target=target.path_and_query
        )
        ours = {
            "host": target.authority,
            "accept": "*/*",
            "user-agent": f"signing-relay/{self.version}",
        }
        async with (
            httpcore.AsyncHTTPConnection(
                origin=url.origin,
                ssl_context=self._tls if target.scheme == "https" else None,
                network_backend=PinnedBackend(self.network, addresses),
            ) as connection,
            connection.stream(
                "POST",
                url,
                headers=[*headers.items(), *ours.items()],
                content=body,
                extensions={"timeout": {"connect": CONNECT_TIMEOUT_S}, "trace": progress},
            ) as answer,
        ):
            yield answer


async def _read_into(beginning: bytearray, answer: httpcore.Response) -> None:
    async for chunk in answer.aiter_stream():
        beginning += chunk
        if len(beginning) >= ANSWER_BYTES_MAX:
            return


def _retry_after(answer: httpcore.Response) -> str | None:
    values = (value.decode("latin-1") for name, value in answer.headers if name.lower() == b"retry-after")
    return next(values, None)
