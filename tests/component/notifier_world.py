"""A world in memory for the notifier: its event source, receivers to script, and time that jumps."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from adapters.clock import SystemRandomness
from calling.outcomes import Outcomes
from calling.slots import Slots
from core import job as jobs
from core import request as requests
from core import webhook
from core.circuit import Receiver
from core.config import CallSettings, Reader
from core.in_flight import InFlight
from core.messages import NotificationMessage
from core.request import Request
from core.webhook import PostResult
from notifier.attempts import NotifierPorts
from notifier.queues import Lane
from notifier.settings import DELAYS_S, NotifierSettings
from notifier.wiring import assemble
from ports import Clock, Conflict, Ports, Randomness, Received, ReceiverStore, Written
from processor.backoff import Backoff
from processor.sweep import Sweep
from proofs.simulation.virtual_time import VirtualClock
from tests.component.world import SIGNATURE, Silent
from tests.fakes.memory import MemoryJobStore, MemoryQueue, MemoryReceiverStore, MemoryTable

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
DELAYS_MS = tuple(1_000 * int(delay_s) for delay_s in DELAYS_S.split(","))
ENVIRONMENT = {
    "TABLE_NAME": "table",
    "SECRET_ID": "secret",
    "NOTIFICATION_QUEUE_URL": "https://sqs.example/notifications",
    "NOTIFICATION_RETRY_QUEUE_URL": "https://sqs.example/notification-retries",
}
HOOK = "https://receiver.example/hook"
TIMEOUT = PostResult(None, "timeout", None, "")
BATCH = 10
DISTANCE_S = 0.005
INVOCATION_S = 0.02
SWEEP_MS = 5_000


def answered(status: int, retry_after: str | None = None, excerpt: str = "") -> PostResult:
    return PostResult(status, f"http_{status}", retry_after, excerpt)


class Unhurried(SystemRandomness):
    """Chance without jitter, so that times are exact."""

    def fraction(self) -> float:
        return 0.0


class Seeded(SystemRandomness):
    """Chance that repeats itself."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def fraction(self) -> float:
        return self._rng.random()


@dataclass(frozen=True)
class Post:
    """One attempt as a receiver saw it."""

    at_ms: int
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class ScriptedReceivers:
    """A `ports.Poster`. `behave`: from a URL and how often it was called to what, after how long."""

    clock: Clock
    behave: Callable[[str, int], tuple[PostResult, int]]
    posts: list[Post] = field(default_factory=list)
    in_flight_max: dict[str, int] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    _in_flight: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    async def resolve(self, url: str) -> Sequence[str] | PostResult:
        """Every host has an address of its own, but those that say which one they share."""
        host = urlsplit(url).hostname or ""
        return [self.addresses.get(host, f"address of {host}")]

    async def post(
        self, url: str, addresses: Sequence[str], headers: Mapping[str, str], body: bytes
    ) -> PostResult:
        before = sum(post.url == url for post in self.posts)
        self.posts.append(Post(self.clock.now_ms(), url, headers, body))
        result, takes_ms = self.behave(url, before)
        targets = urlsplit(url).netloc, addresses[0]
        for target in targets:
            self._in_flight[target] += 1
            self.in_flight_max[target] = max(self.in_flight_max.get(target, 0), self._in_flight[target])
        await self.clock.sleep_ms(takes_ms)
        for target in targets:
            self._in_flight[target] -= 1
        return result


class DistantReceivers(MemoryReceiverStore):
    """As far away as DynamoDB is: what was read may have changed by the time it is written."""

    async def receiver(self, name: str) -> Receiver:
        await asyncio.sleep(DISTANCE_S)
        return await super().receiver(name)

    async def write_receiver(
        self, before: Receiver, after: Receiver
    ) -> Written[Receiver] | Conflict[Receiver]:
        await asyncio.sleep(DISTANCE_S)
        return await super().write_receiver(before, after)

    async def in_flight(self, name: str) -> InFlight:
        await asyncio.sleep(DISTANCE_S)
        return await super().in_flight(name)

    async def write_in_flight(
        self, before: InFlight, after: InFlight
    ) -> Written[InFlight] | Conflict[InFlight]:
        await asyncio.sleep(DISTANCE_S)
        return await super().write_in_flight(before, after)


class SweepPorts(NamedTuple):
    """What a sweep of deliveries needs of the world."""

    store: MemoryJobStore
    notifications: MemoryQueue
    clock: Clock
    telemetry: Silent


SETTINGS = CallSettings.read(Reader({"UPSTREAM_URL": "https://upstream.example"}))


class NotifierWorld:
    """Notifiers behind their event source, in virtual time."""

    def __init__(
        self,
        behave: Callable[[str, int], tuple[PostResult, int]],
        *,
        receivers: ReceiverStore | None = None,
        randomness: Randomness | None = None,
        instances_max: int = 10,
    ) -> None:
        self.clock = VirtualClock()
        self.table = MemoryTable()
        self.store = MemoryJobStore(self.table)
        self.dead_letters = MemoryQueue(self.clock)
        self.queue, self.retries = (
            MemoryQueue(self.clock, visibility_ms=120_000, receives_max=10, dead_letters=self.dead_letters)
            for _ in range(2)
        )
        self.receivers = ScriptedReceivers(self.clock, behave)
        self.telemetry = Silent()
        self.randomness = randomness or Unhurried()
        self.instances_max = instances_max
        self.secrets = {"alice": [SECRET], "bob": [SECRET]}
        self.ports = NotifierPorts(
            store=self.store,
            receivers=receivers or DistantReceivers(),
            poster=self.receivers,
            notifications=self.queue,
            retries=self.retries,
            sign=self._sign,
            clock=self.clock,
            randomness=self.randomness,
            telemetry=self.telemetry,
        )
        self.notifier = assemble(self.ports, NotifierSettings.read(ENVIRONMENT))

    async def _sign(self, body: bytes, webhook_id: str, timestamp_s: int, client: str) -> dict[str, str]:
        await asyncio.sleep(DISTANCE_S)
        return webhook.sign(body, webhook_id, timestamp_s, self.secrets[client])

    async def closed(self, url: str = HOOK, client: str = "alice") -> Request:
        """Store a request that was just signed, and return it; no message is sent."""
        now_ms = self.clock.now_ms()
        request_id = self.randomness.request_id(now_ms)
        opened = Request(request_id, jobs.job_id(request_id), request_id, client, url, now_ms)
        stored = await self.store.accept(opened)
        written = await self.store.write_request(stored, requests.close_signed(stored, SIGNATURE, now_ms))
        assert isinstance(written, Written)
        return written.record

    async def announce(self, *requests: Request) -> None:
        """Send the messages that say that these are due."""
        await self.queue.send([message_of(request).encode() for request in requests])

    async def now(self, request: Request) -> Request:
        """Return a request as it is stored now."""
        stored = await self.store.request_of(request.job_id, request.id)
        assert stored
        return stored

    async def deliver(self, message: NotificationMessage, lane: Lane = Lane.FIRST) -> bool:
        """Invoke a notifier with one message; say whether it was handled."""
        body = message.encode()
        return not await self.notifier.batch(lane).run([{"messageId": "1", "body": body}])

    async def run(self, duration_ms: int) -> None:
        """Let the event sources and the due index work: batches to as many notifiers as may run."""
        try:
            async with asyncio.timeout(duration_ms / 1000), asyncio.TaskGroup() as tasks:
                tasks.create_task(self._resend())
                tasks.create_task(self._poll(tasks, self.queue, Lane.FIRST))
                tasks.create_task(self._poll(tasks, self.retries, Lane.RETRIES))
        except TimeoutError:
            return

    async def _poll(self, tasks: asyncio.TaskGroup, queue: MemoryQueue, lane: Lane) -> None:
        free = asyncio.Semaphore(self.instances_max)
        while True:
            await free.acquire()
            batch = await queue.receive(BATCH, 20_000)
            task = tasks.create_task(self._notify(batch, queue, lane))
            task.add_done_callback(lambda _: free.release())

    async def _notify(self, batch: Sequence[Received], queue: MemoryQueue, lane: Lane) -> None:
        """One invocation: it ends, and its batch is deleted, when its slowest record is done."""
        await asyncio.sleep(INVOCATION_S)
        records = [{"messageId": message.receipt, "body": message.text} for message in batch]
        failed = await self.notifier.batch(lane).run(records)
        await queue.delete([message.receipt for message in batch if message.receipt not in failed])

    async def _resend(self) -> None:
        """The part of the processor's sweep that a delivery needs."""
        ports = SweepPorts(self.store, self.queue, self.clock, self.telemetry)
        sweep = Sweep(cast(Ports, ports), cast(Slots, None), cast(Outcomes, None), Backoff(), SETTINGS)
        while True:
            await sweep.run(self.clock.monotonic_ms() + SWEEP_MS)
            await self.clock.sleep_ms(SWEEP_MS)


def message_of(request: Request) -> NotificationMessage:
    return NotificationMessage(request.job_id, request.id, request.delivery.attempts)
