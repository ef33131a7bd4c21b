"""Every port in memory: the same promises as the real ones, for tests, simulations and benchmarks.

One `MemoryTable` may be shared by many stores, as one table is by many functions. Nothing here waits, so
each call is atomic, as DynamoDB's are.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from core.circuit import Receiver
from core.claim import Claim
from core.due_index import DueKind, EndedKind, IndexRow, partition
from core.gate import Gate
from core.history import Minute
from core.in_flight import InFlight
from core.job import Job
from core.request import Request
from core.scheduling import Due
from core.window import Change, Window
from ports import FOREVER_MS, PAGE_MAX, Clock, Conflict, OwnKey, Page, Received, RequestKey, Written


@dataclass(slots=True)
class MemoryTable:
    """Jobs by id, and requests by job and id."""

    jobs: dict[str, Job] = field(default_factory=dict)
    requests: dict[str, dict[str, Request]] = field(default_factory=dict)
    pointers: dict[str, str] = field(default_factory=dict)
    writes: int = 0
    rows_read: int = 0
    _revisions: "count[int]" = field(default_factory=lambda: count(1))

    def requests_of(self, job_id: str) -> list[Request]:
        """Return all requests of a job."""
        return list(self.requests.get(job_id, {}).values())

    def revision(self) -> str:
        """Return a revision that was never used."""
        self.writes += 1
        return str(next(self._revisions))


class MemoryJobStore:
    """A `ports.JobStore`."""

    def __init__(self, table: MemoryTable) -> None:
        self._table = table

    async def job(self, job_id: str) -> Job | None:
        """Return the job."""
        return self._table.jobs.get(job_id)

    async def load(self, job_id: str) -> tuple[Job | None, Page]:
        """Return the job and the first page of the requests that may be open."""
        job = self._table.jobs.get(job_id)
        return job, await self.page(job_id, job.open_from if job else "")

    async def page(self, job_id: str, first_id: str) -> Page:
        """Return a page of a job's requests."""
        requests = self._table.requests.get(job_id, {})
        ids = sorted(request_id for request_id in requests if request_id >= first_id)
        self._table.rows_read += len(ids[:PAGE_MAX])
        next_id = ids[PAGE_MAX] if len(ids) > PAGE_MAX else None
        return Page(tuple(requests[request_id] for request_id in ids[:PAGE_MAX]), next_id)

    async def write_job(self, before: Job | None, after: Job) -> Written[Job] | Conflict[Job]:
        """Write a job if the stored one is still `before`."""
        stored = self._table.jobs.get(after.id)
        if (stored and stored.revision) != (before and before.revision):
            return Conflict(stored)
        written = replace(after, revision=self._table.revision())
        self._table.jobs[after.id] = written
        return Written(written)

    async def accept(self, request: Request) -> Request:
        """Store a new request and its pointer."""
        requests = self._table.requests.setdefault(request.job_id, {})
        if request.id not in requests:
            requests[request.id] = replace(request, revision=self._table.revision())
            self._table.pointers[request.id] = request.job_id
        return requests[request.id]

    async def accept_and_schedule(
        self, request: Request, before: Job | None, after: Job
    ) -> tuple[Request, Job | None]:
        """Store a new request, and write its job if the stored one is still `before`."""
        stored = self._table.jobs.get(after.id)
        unchanged = (stored and stored.revision) == (before and before.revision)
        accepted = request.id in self._table.pointers
        request = await self.accept(request)
        if accepted or not unchanged:
            return request, None
        return request, (await self.write_job(before, after)).record

    async def request(self, request_id: str) -> Request | None:
        """Return a request by its id alone."""
        job_id = self._table.pointers.get(request_id)
        return await self.request_of(job_id, request_id) if job_id else None

    async def request_of(self, job_id: str, request_id: str) -> Request | None:
        """Return a request of a known job."""
        return self._table.requests.get(job_id, {}).get(request_id)

    async def write_request(self, before: Request, after: Request) -> Written[Request] | Conflict[Request]:
        """Write a request if the stored one is still `before`."""
        requests = self._table.requests.get(after.job_id, {})
        stored = requests.get(after.id)
        if stored is None or stored.revision != before.revision:
            return Conflict(stored)
        requests[after.id] = replace(after, revision=self._table.revision())
        return Written(requests[after.id])

    async def due_jobs(
        self,
        kind: DueKind,
        until_ms: int,
        limit: int,
        after: Due | None = None,
        *,
        client: str = "",
        from_ms: int = 0,
    ) -> list[Due]:
        """Return the scheduled jobs that are due by then."""
        rows = [
            Due(job.id, row.at_ms, job.oldest_ms, client)
            for job in self._table.jobs.values()
            if (row := job.index_row) and row.partition == partition(kind, client)
            if from_ms <= row.at_ms <= until_ms
        ]
        later = [due for due in rows if after is None or _order(due) > _order(after)]
        return sorted(later, key=_order)[:limit]

    async def due_requests(
        self, kind: DueKind, until_ms: int, limit: int, after: RequestKey | None = None, *, from_ms: int = 0
    ) -> list[RequestKey]:
        """Return the requests that are to be looked at by then."""
        rows = [key for key in self._requests_at(kind, until_ms) if key.due_ms >= from_ms]
        return [key for key in rows if after is None or _order(key) > _order(after)][:limit]

    async def ended(self, kind: EndedKind, limit: int) -> list[RequestKey]:
        """Return the requests that ended last, newest first."""
        return self._requests_at(kind, FOREVER_MS)[::-1][:limit]

    def _requests_at(self, kind: DueKind | EndedKind, until_ms: int) -> list[RequestKey]:
        rows = [
            RequestKey(request.job_id, request.id, row.at_ms, request.created_ms, bool(request.signature))
            for requests in self._table.requests.values()
            for request in requests.values()
            if (row := request.index_row) and row.kind is kind and row.at_ms <= until_ms
        ]
        return sorted(rows, key=_order)

    async def count_before(self, row: IndexRow, limit: int) -> int:
        """Count the rows of the same partition that are due earlier."""
        rows = [job.index_row for job in self._table.jobs.values()]
        before = [
            other for other in rows if other and other.partition == row.partition and other.at_ms < row.at_ms
        ]
        return min(limit, len(before))

    async def count_requests(self, job_id: str, first_id: str, limit: int) -> int:
        """Count a job's requests from this id on."""
        ids = [request_id for request_id in self._table.requests.get(job_id, {}) if request_id >= first_id]
        return min(limit, len(ids))

    async def own(self, client: str, limit: int, before: OwnKey | None = None) -> list[OwnKey]:
        """Return a caller's requests, newest first."""
        own = [
            OwnKey(request.id, request.created_ms)
            for requests in self._table.requests.values()
            for request in requests.values()
            if request.client == client
        ]
        newest = sorted(own, key=lambda key: (key.created_ms, key.request_id), reverse=True)
        last = (before.created_ms, before.request_id) if before else None
        return [key for key in newest if last is None or (key.created_ms, key.request_id) < last][:limit]


def _order(row: Due | RequestKey) -> tuple[int, str]:
    """The order of index rows: two that are due at one moment have one too."""
    return row.due_ms, row.request_id if isinstance(row, RequestKey) else row.job_id


class MemoryReceiverStore:
    """A `ports.ReceiverStore`."""

    def __init__(self) -> None:
        self._receivers: dict[str, Receiver] = {}
        self._in_flight: dict[str, InFlight] = {}
        self._revisions = count(1)

    async def receiver(self, name: str) -> Receiver:
        """Return the receiver."""
        return self._receivers.get(name, Receiver(name))

    async def write_receiver(
        self, before: Receiver, after: Receiver
    ) -> Written[Receiver] | Conflict[Receiver]:
        """Write a receiver if the stored one is still `before`."""
        stored = self._receivers.get(after.name, Receiver(after.name))
        if stored.revision != before.revision:
            return Conflict(stored)
        self._receivers[after.name] = replace(after, revision=str(next(self._revisions)))
        return Written(self._receivers[after.name])

    async def in_flight(self, name: str) -> InFlight:
        """Return the places."""
        return self._in_flight.get(name, InFlight(name))

    async def write_in_flight(
        self, before: InFlight, after: InFlight
    ) -> Written[InFlight] | Conflict[InFlight]:
        """Write places if the stored ones are still `before`."""
        stored = self._in_flight.get(after.name, InFlight(after.name))
        if stored.revision != before.revision:
            return Conflict(stored)
        self._in_flight[after.name] = replace(after, revision=str(next(self._revisions)))
        return Written(self._in_flight[after.name])


class MemoryHistory:
    """A `ports.History`."""

    def __init__(self) -> None:
        self.items: dict[int, Minute] = {}

    async def write(self, minute: Minute) -> None:
        """Store an item."""
        self.items[minute.at_ms] = minute

    async def since(self, at_ms: int) -> list[Minute]:
        """Return the items from then on, oldest first."""
        return [self.items[key] for key in sorted(self.items) if key >= at_ms]

    async def last(self, until_ms: int) -> Minute | None:
        """Return the newest item up to then."""
        newest_ms = max((at_ms for at_ms in self.items if at_ms <= until_ms), default=None)
        return None if newest_ms is None else self.items[newest_ms]


@dataclass(slots=True)
class MemoryWindow:
    """The one item of the gate."""

    gate: Gate | None = None
    writes: int = 0
    conflicts: int = 0

    @property
    def window(self) -> Window:
        """The window in it."""
        assert self.gate
        return self.gate.window

    @window.setter
    def window(self, window: Window) -> None:
        self.gate = replace(self.gate, window=window) if self.gate else Gate(window)


class MemoryWindowStore:
    """A `ports.WindowStore`."""

    def __init__(self, item: MemoryWindow, missing: Callable[[], Gate]) -> None:
        self._item = item
        self._missing = missing

    async def read(self) -> Gate:
        """Return the gate; a missing one is created."""
        return self._read()

    async def apply(self, change: Change) -> Written[Gate] | Conflict[Gate]:
        """Carry out a conditional write."""
        gate = self._read()
        self._item.writes += 1
        if not _unchanged(gate, change):
            self._item.conflicts += 1
            return Conflict(gate)
        self._item.gate = _changed(gate, change)
        return Written(self._item.gate)

    def _read(self) -> Gate:
        if self._item.gate is None:
            self._item.gate = self._missing()
        return self._item.gate


def _unchanged(gate: Gate, change: Change) -> bool:
    slots = gate.window.slots
    return (
        gate.window.limits.version == change.limits_version
        and all(index < len(slots) and slots[index] == slot for index, slot in change.expected_slots.items())
        and (change.limits is None or len(slots) == len(change.expected_slots))
        and all(gate.value(name) == value for name, value in change.expected.items())
    )


def _changed(gate: Gate, change: Change) -> Gate:
    slots = {} if change.limits else dict(enumerate(gate.window.slots))
    slots |= change.slots
    window = replace(
        gate.window,
        limits=change.limits or gate.window.limits,
        slots=tuple(slots[index] for index in range(len(slots))),
    )
    counted = {name: int(gate.value(name) or 0) + number for name, number in change.increments.items()}
    return replace(gate, window=window).having(change.latencies_ms, **change.values, **counted)


@dataclass(slots=True)
class _Message:
    text: str
    visible_at_ms: int
    receipt: str = ""
    receives: int = 0


class MemoryQueue:
    """A `ports.Queue` with a visibility timeout and, after too many receives, a dead-letter queue."""

    def __init__(
        self,
        clock: Clock,
        *,
        visibility_ms: int = 150_000,
        receives_max: int = 5,
        dead_letters: "MemoryQueue | None" = None,
    ) -> None:
        self._clock = clock
        self._visibility_ms = visibility_ms
        self._receives_max = receives_max
        self._dead_letters = dead_letters
        self._messages: list[_Message] = []
        self._receipts = count(1)
        self._sent = asyncio.Event()
        self.requests = 0

    @property
    def texts(self) -> list[str]:
        """All messages that are there, visible or not."""
        return [message.text for message in self._messages]

    async def send(self, texts: Sequence[str], *, delay_ms: int = 0) -> None:
        """Send messages."""
        self.requests += 1
        visible_at_ms = self._clock.now_ms() + delay_ms
        self._messages += [_Message(text, visible_at_ms) for text in texts]
        self._sent.set()

    async def receive(self, limit: int, wait_ms: int) -> list[Received]:
        """Receive messages; the wait ends with the first one."""
        self.requests += 1
        end_ms = self._clock.monotonic_ms() + wait_ms // 1000 * 1000
        while not (received := self._receive(limit)) and (left_ms := end_ms - self._clock.monotonic_ms()) > 0:
            self._sent.clear()
            await self._sent_or_visible(left_ms)
        return received

    async def delete(self, receipts: Sequence[str]) -> None:
        """Delete messages."""
        self.requests += 1
        self._messages = [message for message in self._messages if message.receipt not in receipts]

    async def count(self) -> int:
        """Return how many there are that nobody holds."""
        return sum(message.visible_at_ms <= self._clock.now_ms() for message in self._messages)

    def purge(self) -> None:
        """Lose everything."""
        self._messages.clear()

    def _receive(self, limit: int) -> list[Received]:
        now_ms = self._clock.now_ms()
        received: list[Received] = []
        for message in [message for message in self._messages if message.visible_at_ms <= now_ms]:
            if message.receives >= self._receives_max:
                self._bury(message)
            elif len(received) < limit:
                message.receives += 1
                message.visible_at_ms = now_ms + self._visibility_ms
                message.receipt = str(next(self._receipts))
                received.append(Received(message.text, message.receipt))
        return received

    def _bury(self, message: _Message) -> None:
        self._messages.remove(message)
        if self._dead_letters is not None:
            self._dead_letters._messages.append(_Message(message.text, 0))  # noqa: SLF001 - of its own kind

    async def _sent_or_visible(self, left_ms: int) -> None:
        now_ms = self._clock.now_ms()
        soonest_ms = min((message.visible_at_ms - now_ms for message in self._messages), default=left_ms)
        try:
            async with asyncio.timeout(max(1, min(left_ms, soonest_ms)) / 1000):
                await self._sent.wait()
        except TimeoutError:
            return


class MemoryDeadLetters(MemoryQueue):
    """The operator's `DeadLetterQueue`: what it gives out is held for the visibility timeout."""

    async def release(self, receipts: Sequence[str]) -> None:
        """Let others receive them again at once."""
        for message in self._messages:
            if message.receipt in receipts:
                message.visible_at_ms = self._clock.now_ms()


class MemoryClaimStore:
    """A `ports.ClaimStore`."""

    def __init__(self) -> None:
        self.claims: dict[str, Claim] = {}

    async def take(self, claim: Claim) -> Claim:
        """Store a claim unless its key is held."""
        held = self.claims.get(claim.id)
        if held is None or held.expires_ms <= claim.claimed_ms:
            self.claims[claim.id] = claim
        return self.claims[claim.id]

    async def write(self, before: Claim, after: Claim) -> bool:
        """Write a claim if the stored one is still `before`, without a reply."""
        held = self.claims.get(before.id)
        if held is None or held.claimed_ms != before.claimed_ms or held.reply:
            return False
        self.claims[before.id] = after
        return True
