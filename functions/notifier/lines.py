"""Delivers webhooks receiver by receiver: those for one receiver stand in a line, and a few workers serve it.

    message --> line of its receiver --> worker: takes a place, delivers one after another --> gives it back
                     |
                     +--> no place, or the circuit is open: all wait in one message of the retry queue

So a receiver that is dead or slow costs one message per probe, however many webhooks wait for it.
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
PLACE_KEPT_MS = 1_000  # then others have a chance
BUSY_MIN_MS = 1_000
TRIED_LATER_MS = 3_000
"""How much later webhooks that failed before may probe a receiver: those never tried come first."""


class Lane(Enum):
    """Which queue a message came from."""

    FIRST = auto()
    RETRIES = auto()


@dataclass(frozen=True, slots=True)
class Deferral:
    """Why webhooks are not tried now, and after how long they are."""

    reason: str
    delay_ms: int


@dataclass(order=True, slots=True)
class Waiting:
    """A webhook in a line: never tried before tried. `request`: None if it was parked before."""

    attempt: int
    order: int
    message: NotificationMessage = field(compare=False)
    request: Request | None = field(compare=False)
    done: "asyncio.Future[None]" = field(compare=False)


@dataclass(slots=True)
class Line:
    """The webhooks for one receiver that this process has."""

    receiver: Receiver
    client: str
    url: str
    waiting: list[Waiting] = field(default_factory=list)
    workers: int = 0


class Lines:
    """The lines of one invocation. `stop_mono_ms`: no attempt begins later."""

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
        self._lines: dict[str, Line] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._order = 0

    async def deliver(self, text: str) -> None:
        """Deliver what a message names, or let it wait; raises `InvalidMessage`, and `Unavailable`.

        Then the message comes again, or the sweep sends another.
        """
        message = decode_webhooks(text)
        if isinstance(message, NotificationMessage) and message.attempt and self._lane is Lane.FIRST:
            await self._ports.retries.send([text])  # the sweep sends every message here
            return
        rows = message.deliveries if isinstance(message, WaitingMessage) else (message,)
        for index, row in enumerate(rows):
            request = await self._attempts.due(row)
            if request is not None:
                await self._wait_in_line(request, row, rows[index + 1 :])
                return

    async def finish(self) -> None:
        """Wait for the workers, which may still have a place to give back."""
        await asyncio.gather(*self._workers)

    async def _wait_in_line(
        self, request: Request, row: NotificationMessage, others: Iterable[NotificationMessage]
    ) -> None:
        name = receiver_name(request.client, request.webhook_url)
        line = self._lines.setdefault(name, Line(Receiver(name), request.client, request.webhook_url))
        entries = [self._enter(line, row, request), *(self._enter(line, other, None) for other in others)]
        self._start_workers(line)
        results = await asyncio.gather(*(entry.done for entry in entries), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def _enter(self, line: Line, message: NotificationMessage, request: Request | None) -> Waiting:
        self._order += 1
        done = asyncio.get_running_loop().create_future()
        entry = Waiting(message.attempt, self._order, message, request, done)
        heappush(line.waiting, entry)
        return entry

    def _start_workers(self, line: Line) -> None:
        while line.workers < min(line.receiver.places_max, line.workers + len(line.waiting)):
            line.workers += 1
            worker = asyncio.create_task(self._work(line))
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _work(self, line: Line) -> None:
        """Serve a line until it is empty or has to wait."""
        try:
            while line.waiting:
                line.receiver = await self._receivers.look(line.receiver.name)
                deferral = self._deferral(line) or await self._visit(line)
                if deferral:
                    await self._park(line, deferral)
        except Exception as error:  # noqa: BLE001 - told to those who wait
            for entry in _emptied(line):
                _end(entry, error)
        finally:
            line.workers -= 1

    async def _visit(self, line: Line) -> Deferral | None:
        """Take a place and deliver one webhook after another for a while; say if there was no place."""
        addresses = await self._ports.poster.resolve(line.url)
        place = await self._receivers.take_place(
            line.receiver.name, line.client, _targets(line.url, addresses)
        )
        if isinstance(place, Busy):
            delay_ms = max(BUSY_MIN_MS, place.oldest_ms) * (1 + self._ports.randomness.fraction())
            return Deferral("host_busy", int(delay_ms))
        until_mono_ms = self._ports.clock.monotonic_ms() + PLACE_KEPT_MS
        try:
            while (
                line.waiting and self._ports.clock.monotonic_ms() < until_mono_ms and not self._deferral(line)
            ):
                await self._deliver_next(line, addresses)
        finally:
            await self._receivers.vacate(place)
        return None

    async def _deliver_next(self, line: Line, addresses: Sequence[str] | PostResult) -> None:
        entry = heappop(line.waiting)
        try:
            request = entry.request or await self._attempts.due(entry.message)
            result = await self._attempts.make(request, addresses) if request else None
            if result:
                line.receiver = await self._receivers.record(line.receiver, result)
        except Exception as error:  # noqa: BLE001 - told to the one who waits
            _end(entry, error)
            return
        _end(entry)
        self._start_workers(line)

    def _deferral(self, line: Line) -> Deferral | None:
        """Say why the line may not be served now; None if it may."""
        receiver = line.receiver
        tried_before = bool(line.waiting) and line.waiting[0].attempt > 0
        later_ms = TRIED_LATER_MS if tried_before and receiver.open_until_ms else 0
        left_alone_ms = receiver.probe_in_ms(self._ports.clock.now_ms() - later_ms)
        if left_alone_ms:
            # All that wait for it come back at the same moment, and meet in one message.
            return Deferral("circuit_open", left_alone_ms)
        if receiver.failing and self._lane is Lane.FIRST:
            return Deferral("receiver_failing", 0)
        if self._ports.clock.monotonic_ms() >= self._stop_mono_ms:
            return Deferral("out_of_time", 0)
        return None

    async def _park(self, line: Line, deferral: Deferral) -> None:
        """Let all of a line wait in as few messages as possible."""
        entries = _emptied(line)
        try:
            parked = await asyncio.gather(*(self._parked(entry, deferral.reason) for entry in entries))
            rows = [entry.message for entry, is_parked in zip(entries, parked, strict=True) if is_parked]
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
        return entry.request is None or await self._attempts.park(entry.request, reason)


def _targets(url: str, addresses: Sequence[str] | PostResult) -> list[str]:
    """Return what a place is taken at: the host, and the address that is called first."""
    if isinstance(addresses, PostResult):
        return []
    host = host_name(url)
    port = host.rpartition(":")[2]
    return list(dict.fromkeys([host, f"{addresses[0]}:{port}"]))


def _emptied(line: Line) -> list[Waiting]:
    entries, line.waiting = line.waiting, []
    return entries


def _end(entry: Waiting, error: Exception | None = None) -> None:
    if entry.done.done():
        return
    if error:
        entry.done.set_exception(error)
    else:
        entry.done.set_result(None)
