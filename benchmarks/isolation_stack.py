"""Webhooks of one caller on the embedded stack: many at once, and beside another caller's bad receivers.

Their requests are written into the table as signed, and their messages are sent; then the notifiers work for
real. What counts is how long the slowest webhook takes from its message to the receiver.
"""

import asyncio
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.clock import SystemClock, SystemRandomness
from adapters.dynamodb_jobs import DynamoJobStore
from adapters.sqs import SqsQueue
from core import job as jobs
from core import request as requests
from core.messages import NotificationMessage
from core.request import Request
from tests.system.receiver import receiving
from tests.system.stack import RunningStack, running_stack

LIMIT_S = 60.0
WRITTEN_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Situation:
    """`webhooks` to one fast receiver, `apart_s` seconds from each other, beside a neighbour's receivers.

    `bad_receivers`: how many. `listening`: they accept connections and never answer; else they refuse them.
    """

    name: str
    webhooks: int
    apart_s: float = 0.0
    bad_receivers: int = 0
    listening: bool = False


SITUATIONS = (
    Situation("on the stack: 300 webhooks to one receiver", 300),
    Situation("on the stack: 240 hanging receivers", 20, 0.25, bad_receivers=240, listening=True),
    Situation("on the stack: 300 dead receivers", 20, 0.25, bad_receivers=300),
)


def measure() -> Iterator[tuple[str, float]]:
    """Start a stack; yield each situation's name, and the seconds that its slowest webhook took."""
    with tempfile.TemporaryDirectory() as folder, running_stack(Path(folder)) as stack:
        for situation in SITUATIONS:
            with _bad_receivers(situation) as urls, receiving() as receiver:
                sent_s = asyncio.run(_send(stack, situation, urls, receiver.url))
                receiver.wait_for(situation.webhooks, LIMIT_S)
                took_s = [at_s - sent_s[headers["webhook-id"]] for at_s, headers, _ in receiver.received]
            yield situation.name, max(took_s)


@contextmanager
def _bad_receivers(situation: Situation) -> Iterator[list[str]]:
    """Hold a port for each bad receiver; yield their URLs."""
    with ExitStack() as held:
        ports = list[int]()
        for _ in range(situation.bad_receivers):
            receiver = held.enter_context(socket.socket())
            receiver.bind(("127.0.0.1", 0))
            if situation.listening:
                receiver.listen()
            ports.append(receiver.getsockname()[1])
        yield [f"http://127.0.0.1:{port}/hook" for port in ports]


async def _send(
    stack: RunningStack, situation: Situation, bad_urls: Sequence[str], good_url: str
) -> dict[str, float]:
    """Send the neighbour's messages, then the others; return when each of these was sent, by request."""
    queue = SqsQueue(stack.session.client("sqs"), stack.resources["NotificationQueue"])
    bad = await _signed(stack, "neighbour", bad_urls)
    good = await _signed(stack, "default", [good_url] * situation.webhooks)
    await queue.send([_message(request) for request in bad])
    if not situation.apart_s:
        sent_s = time.monotonic()
        await queue.send([_message(request) for request in good])
        return {request.id: sent_s for request in good}
    times_s = dict[str, float]()
    for request in good:
        times_s[request.id] = time.monotonic()
        await queue.send([_message(request)])
        await asyncio.sleep(situation.apart_s)
    return times_s


def _message(request: Request) -> str:
    return NotificationMessage(request.job_id, request.id, 0).encode()


async def _signed(stack: RunningStack, client: str, urls: Sequence[str]) -> list[Request]:
    """Write a signed request for each URL."""
    store = DynamoJobStore(stack.session.client("dynamodb"), stack.resources["SigningTable"])
    free = asyncio.Semaphore(WRITTEN_AT_ONCE)

    async def write(url: str) -> Request:
        now_ms, randomness = SystemClock().now_ms(), SystemRandomness()
        message = randomness.token()
        request = Request(randomness.request_id(now_ms), jobs.job_id(message), message, client, url, now_ms)
        async with free:
            stored = await store.accept(request)
            await store.write_request(stored, requests.close_signed(stored, "signature", now_ms))
        return request

    return await asyncio.gather(*(write(url) for url in urls))
