"""Sends requests at a steady pace, and collects what came of them: the main job, as a caller sees it."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from tests.system.machine import whole_machine
from tests.system.stack import API_KEY

POLL_S = 0.5
PROMISED_S = 2.0


class Target(Protocol):
    """Where a stack is: processes of ours, or containers."""

    @property
    def api_url(self) -> str: ...
    @property
    def upstream_url(self) -> str: ...
    @property
    def inbox_url(self) -> str: ...
    @property
    def hook_url(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer: its body, and how long it took."""

    message: str
    status: int
    body: dict[str, Any]
    took_s: float


async def ask(client: httpx.AsyncClient, stack: Target, message: str, *, hook: str | None = None) -> Answered:
    """Send one request and return its answer; its webhook goes to the inbox unless another is named."""
    params = {"message": message, "webhook_url": hook or stack.hook_url}
    started_s = time.monotonic()
    response = await client.get(
        f"{stack.api_url}/crypto/sign", params=params, headers={"Authorization": API_KEY}
    )
    return Answered(message, response.status_code, response.json(), time.monotonic() - started_s)


async def send_burst(stack: Target, messages: Sequence[str], interval_s: float) -> list[Answered]:
    """Send one request every `interval_s`, whether or not the ones before are answered."""
    limits = httpx.Limits(max_connections=len(messages))
    with whole_machine():
        async with httpx.AsyncClient(timeout=10, limits=limits, trust_env=False) as client:
            tasks = []
            for message in messages:
                tasks.append(asyncio.create_task(ask(client, stack, message)))
                await asyncio.sleep(interval_s)
            return await asyncio.gather(*tasks)


def accepted_ids(answers: Sequence[Answered]) -> list[str]:
    """Return the ids of those that got a 202."""
    return [answer.body["request_id"] for answer in answers if answer.status == httpx.codes.ACCEPTED]


async def arrivals(stack: Target) -> list[dict[str, Any]]:
    """Return all webhooks that the inbox has received, repeats included, newest first."""
    async with httpx.AsyncClient(trust_env=False) as client:
        response = await client.get(f"{stack.inbox_url}/_received", params={"limit": 1000})
    rows: list[dict[str, Any]] = response.json()["received"]
    return rows


async def received(stack: Target) -> dict[str, dict[str, Any]]:
    """Return the first webhook that the inbox has received of each id."""
    return {row["webhook_id"]: row for row in await arrivals(stack)}


async def await_webhooks(
    stack: Target, request_ids: Sequence[str], limit_s: float
) -> dict[str, dict[str, Any]]:
    """Wait until every one of these has arrived, or the time is up."""
    end_s = time.monotonic() + limit_s
    while True:
        rows = await received(stack)
        if set(request_ids) <= set(rows) or time.monotonic() > end_s:
            return {request_id: rows[request_id] for request_id in request_ids if request_id in rows}
        await asyncio.sleep(POLL_S)


async def stats(stack: Target) -> dict[str, Any]:
    """Return what the stand-in has seen."""
    async with httpx.AsyncClient(trust_env=False) as client:
        answer: dict[str, Any] = (await client.get(f"{stack.upstream_url}/_stats")).json()
    return answer


async def verified(stack: Target, message: str, signature: str) -> bool:
    """Ask the stand-in whether a signature is the message's."""
    async with httpx.AsyncClient(trust_env=False) as client:
        response = await client.get(
            f"{stack.upstream_url}/crypto/verify",
            params={"message": message, "signature": signature},
            headers={"Authorization": API_KEY},
        )
    return response.status_code == httpx.codes.OK


async def check_promises(
    stack: Target, answers: Sequence[Answered], limit_s: float, *, calls: int
) -> dict[str, dict[str, Any]]:
    """Assert all that a caller was promised; return the webhooks."""
    assert {answer.status for answer in answers} <= {200, 202}
    accepted = {answer.body["request_id"]: answer.message for answer in answers if answer.status == 202}
    webhooks = await await_webhooks(stack, list(accepted), limit_s)
    assert set(webhooks) == set(accepted), f"{len(accepted) - len(webhooks)} webhooks are missing"
    assert all(row["verified"] for row in webhooks.values())
    signatures = [(answer.message, answer.body["signature"]) for answer in answers if answer.status == 200]
    signatures += [(accepted[key], row["body"]["signature"]) for key, row in webhooks.items()]
    assert all([await verified(stack, message, signature) for message, signature in signatures])
    seen = await stats(stack)
    assert seen["violations"] == 0
    assert seen["worst_window"] <= calls
    return webhooks
