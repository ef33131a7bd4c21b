"""Sends the burst, watches its requests, and checks them against the guarantees."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from infra.demo.target import Target
from infra.local.upstream_model import arrivals_within, worst_window

PROMISED_S = 2.0
WATCH_EVERY_S = 1.0
RECEIVED_MAX = 1_000
WINDOWS_MAX = 20  # far more than a burst of six windows' calls needs
SETTLING_S = 60.0


@dataclass(slots=True)
class Sent:
    """One request. Times are seconds since the epoch; None means not yet."""

    message: str
    at_s: float
    took_s: float | None = None
    status: int = 0
    body: dict[str, Any] = field(default_factory=dict)
    webhook: dict[str, Any] | None = None

    @property
    def id(self) -> str:
        """The id in its answer."""
        return str(self.body.get("request_id", ""))

    @property
    def accepted(self) -> bool:
        """Whether it was answered 202."""
        return self.status == httpx.codes.ACCEPTED

    @property
    def signature(self) -> str:
        """The signature, from the answer or from the webhook."""
        body = self.webhook["body"] if self.webhook else self.body
        return str(body.get("signature", ""))

    @property
    def done_at_s(self) -> float | None:
        """When its outcome arrived; None if it has not."""
        if self.webhook:
            return float(self.webhook["t"])
        return self.at_s + self.took_s if self.took_s is not None and not self.accepted else None

    @property
    def estimated_at_s(self) -> float | None:
        """When its next call should end, by the estimate in the 202."""
        text = self.body.get("estimated_ready_at")
        return datetime.fromisoformat(text).timestamp() if text else None


@dataclass(frozen=True, slots=True)
class Call:
    """One upstream call, as the stand-in saw it."""

    t: float
    message: str
    outcome: str


@dataclass(slots=True)
class Seen:
    """What is known about a burst so far."""

    target: Target
    began_s: float
    sent: list[Sent] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    console: dict[str, Any] = field(default_factory=dict)
    unverified: list[str] = field(default_factory=list)

    @property
    def answered(self) -> list[Sent]:
        """The requests with an answer."""
        return [request for request in self.sent if request.took_s is not None]

    @property
    def accepted(self) -> list[Sent]:
        """The requests that were answered 202."""
        return [request for request in self.sent if request.accepted]

    @property
    def delivered(self) -> list[Sent]:
        """The accepted requests whose webhook has arrived with a valid signature."""
        return [
            request
            for request in self.accepted
            if request.webhook is not None and request.webhook["verified"]
        ]

    @property
    def worst(self) -> int:
        """The most calls that any window held."""
        return worst_window(self._times(), self.target.window_s)

    def within(self, at_s: float) -> int:
        """How many calls are in the window that ends at this time."""
        return arrivals_within(self._times(), at_s, self.target.window_s)

    @property
    def complete(self) -> bool:
        """Whether every outcome has arrived."""
        return all(request.done_at_s is not None for request in self.sent)

    def _times(self) -> list[float]:
        return sorted(call.t for call in self.calls)


@dataclass(frozen=True, slots=True)
class Promise:
    """One guarantee, and whether it was kept."""

    kept: bool
    text: str


def judge(seen: Seen) -> list[Promise]:
    """Check a burst against the guarantees."""
    slowest_s = max((request.took_s for request in seen.answered if request.took_s is not None), default=0.0)
    odd = sum(request.status not in {200, 202} for request in seen.sent)
    signed = sum(bool(request.signature) for request in seen.sent)
    calls, window_s = seen.target.calls, seen.target.window_s
    return [
        Promise(
            seen.worst <= calls,
            f"at most {seen.worst} upstream calls in any {window_s:g} s ({calls} allowed)",
        ),
        Promise(
            slowest_s <= PROMISED_S and not odd and len(seen.answered) == len(seen.sent),
            f"{len(seen.sent) - odd} of {len(seen.sent)} signed or accepted, each within {slowest_s:.2f} s",
        ),
        Promise(
            len(seen.delivered) == len(seen.accepted),
            f"{len(seen.delivered)} of {len(seen.accepted)} promised webhooks delivered",
        ),
        Promise(
            signed == len(seen.sent) and not seen.unverified,
            f"{signed} of {len(seen.sent)} signed, {len(seen.unverified)} signatures that do not verify",
        ),
    ]


async def run(target: Target, count: int, over_s: float, show: Callable[[Seen], None]) -> Seen:
    """Send `count` requests evenly over `over_s`, and watch until each has its outcome or time is up."""
    seen = Seen(target, time.time())
    limits = httpx.Limits(max_connections=count + 8)
    async with httpx.AsyncClient(timeout=10, limits=limits, trust_env=False) as client:
        sending = asyncio.create_task(_send(client, seen, count, over_s))
        end_s = seen.began_s + over_s + WINDOWS_MAX * target.window_s + SETTLING_S
        try:
            while time.time() < end_s and not (sending.done() and seen.complete):
                await _watch(client, seen)
                show(seen)
                await asyncio.sleep(WATCH_EVERY_S)
        finally:
            sending.cancel()
        await _watch(client, seen)
        seen.unverified = await _unverified(client, seen)
    show(seen)
    return seen


async def _send(client: httpx.AsyncClient, seen: Seen, count: int, over_s: float) -> None:
    """Send at a steady pace, without waiting for earlier answers."""
    tasks = []
    for number in range(count):
        tasks.append(asyncio.create_task(_ask(client, seen, f"demo {seen.began_s:.0f} {number}")))
        await asyncio.sleep(over_s / count)
    await asyncio.gather(*tasks)


async def _ask(client: httpx.AsyncClient, seen: Seen, message: str) -> None:
    request = Sent(message, time.time())
    seen.sent.append(request)
    started_s = time.monotonic()
    try:
        response = await client.get(
            f"{seen.target.api_url}/crypto/sign",
            params={"message": message, "webhook_url": seen.target.hook_url},
            headers={"Authorization": seen.target.key},
        )
        request.status, request.body = response.status_code, response.json()
    except (httpx.HTTPError, ValueError):  # its status stays 0, which breaks a guarantee
        request.body = {}
    request.took_s = time.monotonic() - started_s


async def _watch(client: httpx.AsyncClient, seen: Seen) -> None:
    """Ask upstream, inbox and console for their state. One that does not answer is asked again next time."""
    await asyncio.gather(
        _tolerant(_watch_upstream(client, seen)),
        _tolerant(_watch_inbox(client, seen)),
        _tolerant(_watch_console(client, seen)),
    )


async def _tolerant(watching: Awaitable[None]) -> None:
    try:
        await watching
    except (httpx.HTTPError, ValueError):
        return


async def _watch_upstream(client: httpx.AsyncClient, seen: Seen) -> None:
    since_s = seen.began_s - seen.target.window_s
    arrivals = (await client.get(f"{seen.target.upstream_url}/_stats")).json()["arrivals"]
    seen.calls = [Call(**arrival) for arrival in arrivals if arrival["t"] >= since_s]


async def _watch_inbox(client: httpx.AsyncClient, seen: Seen) -> None:
    answer = await client.get(f"{seen.target.inbox_url}/_received", params={"limit": RECEIVED_MAX})
    first = {row["webhook_id"]: row for row in answer.json()["received"]}  # newest first: the oldest stays
    for request in seen.sent:
        if request.accepted:
            request.webhook = request.webhook or first.get(request.id)


async def _watch_console(client: httpx.AsyncClient, seen: Seen) -> None:
    headers = {"Authorization": seen.target.key}
    answer = await client.get(f"{seen.target.api_url}/console/state", headers=headers)
    if answer.is_success:
        seen.console = answer.json()


async def _unverified(client: httpx.AsyncClient, seen: Seen) -> list[str]:
    """Return the messages whose signature the upstream does not verify."""
    signed: Sequence[Sent] = [request for request in seen.sent if request.signature]
    answers = await asyncio.gather(
        *(
            client.get(
                f"{seen.target.upstream_url}/crypto/verify",
                params={"message": request.message, "signature": request.signature},
                headers={"Authorization": seen.target.key},
            )
            for request in signed
        )
    )
    pairs = zip(signed, answers, strict=True)
    return [request.message for request, answer in pairs if not answer.is_success]
