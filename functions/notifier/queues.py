"""Delivers webhooks: a queue in memory for each receiver, with a few workers.

    message --> queue of its receiver --> worker: takes a place, delivers one after another --> gives it back
                     |
                     +--> no place, or the circuit is open: all are parked in one message of the retry queue

So a dead or slow receiver costs one message per probe, no matter how many webhooks wait for it.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from heapq import heappop, heappush

from core.circuit import Receiver, host_name, receiver_name
from core.errors import Unavailable
from core.messages import NotificationMessage, WaitingMessage, decode_webhooks
from core.request import Request
from core.webhook import PostResult
from notifier.attempts import Attempts, NotifierPorts
from notifier.receivers import Busy, Receivers

TOGETHER_MAX = 500  # in one message: about 60 kB
PLACE_KEPT_MS = 1_000  # afterwards others may take it
BUSY_MIN_MS = 1_000
TRIED_LATER_MS = 3_000
"""How much later webhooks that failed before may probe a receiver; those without an attempt come first."""


class Lane(Enum):
    """Which queue a message came from."""

    FIRST = auto()
    RETRIES = auto()


@dataclass(frozen=True, slots=True)
class Deferral:
    """Why webhooks are not tried now, and after which delay they are."""

    reason: str
    delay_ms: int


@dataclass(order=True, slots=True)
class Waiting:
    """A webhook in a queue; those without an attempt come first. `request`: None if it is not read yet."""

    attempt: int
    order: int
    message: NotificationMessage = field(compare=False)
    request: Request | None = field(compare=False)
    done: "asyncio.Future[None]" = field(compare=False)


@dataclass(slots=True)
class ReceiverQueue:
    """The webhooks for one receiver in this process."""

    receiver: Receiver
    client: str
    url: str
    waiting: list[Waiting] = field(default_factory=list)
    workers: int = 0


class ReceiverQueues:
    """The queues of one invocation. `stop_mono_ms`: no attempt begins later."""

    def __init__(
        self,
        ports: NotifierPorts,
        attempts: Attempts,
        receivers: Receivers,
        *,
        lane: Lane,
        stop_mono_ms: int,
    ) -> None:
        self._ports = ports
        self._attempts = attempts
        self._receivers = receivers
        self._lane = lane
        self._stop_mono_ms = stop_mono_ms
        self._queues: dict[str, ReceiverQueue] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._order = 0

    async def deliver(self, text: str) -> None:
        """Deliver the webhooks that a message names, or park them.

        Raises `InvalidMessage`, and `Unavailable`: then the message is received again, or another is sent.
        """
        message = decode_webhooks(text)
        if isinstance(message, NotificationMessage) and message.attempt and self._lane is Lane.FIRST:
            await self._ports.retries.send([text])  # the sweep sends every message here
            return
        deliveries = message.deliveries if isinstance(message, WaitingMessage) else (message,)
        rows = list(dict.fromkeys(deliveries))
        for index, row in enumerate(rows):
            request = await self._attempts.due(row)
            if request is not None:
                await self._wait_in_queue(request, row, rows[index + 1 :])
                return

    async def finish(self) -> None:
        """Wait for the workers: they may still have to give places back."""
        await asyncio.gather(*self._workers)

    async def _wait_in_queue(
        self, request: Request, row: NotificationMessage, others: Iterable[NotificationMessage]
    ) -> None:
        name = receiver_name(request.client, request.webhook_url)
        queue = self._queues.setdefault(
            name, ReceiverQueue(Receiver(name), request.client, request.webhook_url)
        )
        entries = [
            self._enqueue(queue, row, request),
            *(self._enqueue(queue, other, None) for other in others),
        ]
        self._start_workers(queue)
        results = await asyncio.gather(*(entry.done for entry in entries), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def _enqueue(
        self, queue: ReceiverQueue, message: NotificationMessage, request: Request | None
    ) -> Waiting:
        self._order += 1
        done = asyncio.get_running_loop().create_future()
        entry = Waiting(message.attempt, self._order, message, request, done)
        heappush(queue.waiting, entry)
        return entry

    def _start_workers(self, queue: ReceiverQueue) -> None:
        while queue.workers < min(queue.receiver.places_max, queue.workers + len(queue.waiting)):
            queue.workers += 1
            worker = asyncio.create_task(self._work(queue))
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _work(self, queue: ReceiverQueue) -> None:
        """Deliver a queue's webhooks until it is empty or was parked."""
        try:
            while queue.waiting:
                queue.receiver = await self._receivers.read(queue.receiver.name)
                deferral = self._deferral(queue) or await self._deliver_in_place(queue)
                if deferral:
                    await self._park(queue, deferral)
        except Exception as error:  # noqa: BLE001 - raised by those that await the entries
            for entry in _take_all(queue):
                _end(entry, error)
        finally:
            queue.workers -= 1

    async def _deliver_in_place(self, queue: ReceiverQueue) -> Deferral | None:
        """Take a place and deliver one webhook after another for a while; a deferral if no place is free."""
        addresses = await self._ports.poster.resolve(queue.url)
        targets = _targets(queue.url, addresses)
        place = await self._receivers.take_place(queue.receiver, queue.client, targets)
        if isinstance(place, Busy):
            delay_ms = max(BUSY_MIN_MS, place.oldest_ms) * (1 + self._ports.randomness.fraction())
            return Deferral("host_busy", int(delay_ms))
        until_mono_ms = self._ports.clock.monotonic_ms() + PLACE_KEPT_MS
        try:
            while (
                queue.waiting
                and self._ports.clock.monotonic_ms() < until_mono_ms
                and not self._deferral(queue)
            ):
                await self._deliver_next(queue, addresses)
        finally:
            await self._receivers.vacate(place)
        return None

    async def _deliver_next(self, queue: ReceiverQueue, addresses: Sequence[str] | PostResult) -> None:
        entry = heappop(queue.waiting)
        try:
            request = entry.request or await self._attempts.due(entry.message)
            result = await self._attempts.make(request, addresses) if request else None
            if result:
                queue.receiver = await self._receivers.record(queue.receiver, result)
        except Exception as error:  # noqa: BLE001 - raised by the one that awaits the entry
            _end(entry, error)
            return
        _end(entry)
        self._start_workers(queue)

    def _deferral(self, queue: ReceiverQueue) -> Deferral | None:
        """Return why no attempt may begin now; None if one may."""
        receiver = queue.receiver
        tried_before = bool(queue.waiting) and queue.waiting[0].attempt > 0
        later_ms = TRIED_LATER_MS if tried_before and receiver.open_until_ms else 0
        open_ms = receiver.probe_in_ms(self._ports.clock.now_ms() - later_ms)
        if open_ms:
            # All parked webhooks come back at the same time, so that they can be parked in one message again.
            return Deferral("circuit_open", open_ms)
        if receiver.failing and self._lane is Lane.FIRST:
            return Deferral("receiver_failing", 0)
        if self._ports.clock.monotonic_ms() >= self._stop_mono_ms:
            return Deferral("out_of_time", 0)
        return None

    async def _park(self, queue: ReceiverQueue, deferral: Deferral) -> None:
        """Park all webhooks of a queue, in as few messages as possible."""
        entries = _take_all(queue)
        try:
            parked = await asyncio.gather(*(self._parked(entry, deferral.reason) for entry in entries))
            waiting = [entry.message for entry, waits in zip(entries, parked, strict=True) if waits]
            rows = list(dict.fromkeys(waiting))  # a message that was repeated names a webhook again
            chunks = [rows[start : start + TOGETHER_MAX] for start in range(0, len(rows), TOGETHER_MAX)]
            texts = [WaitingMessage(tuple(chunk)).encode() for chunk in chunks]
            if texts:
                await self._ports.retries.send(texts, delay_ms=deferral.delay_ms)
        except Unavailable as error:
            for entry in entries:
                _end(entry, error)
            return
        self._ports.telemetry.event(
            "webhooks_deferred", {"WebhooksDeferred": len(texts)}, reason=deferral.reason, webhooks=len(rows)
        )
        for entry in entries:
            _end(entry)

    async def _parked(self, entry: Waiting, reason: str) -> bool:
        """Park a webhook; say whether it waits.

        If the write fails, it waits too: the sweep may send another message for it, which is dropped. The
        other webhooks of the queue must not wait for this one's visibility timeout.
        """
        if entry.request is None:
            return True
        try:
            return await self._attempts.park(entry.request, reason)
        except Unavailable:
            return True


def _targets(url: str, addresses: Sequence[str] | PostResult) -> list[str]:
    """Return the names to take a place at: the host, and the address that is called first."""
    if isinstance(addresses, PostResult):
        return []
    host = host_name(url)
    port = host.rpartition(":")[2]
    return list(dict.fromkeys([host, f"{addresses[0]}:{port}"]))


def _take_all(queue: ReceiverQueue) -> list[Waiting]:
    entries, queue.waiting = queue.waiting, []
    return entries


def _end(entry: Waiting, error: Exception | None = None) -> None:
    if entry.done.done():
        return
    if error:
        entry.done.set_exception(error)
    else:
        entry.done.set_result(None)
