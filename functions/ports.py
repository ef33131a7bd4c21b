"""The interfaces to everything outside: clock, randomness, database, queues, upstream, receivers.

Every method that does I/O may raise `core.errors.Unavailable`: then a write may or may not have happened.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from core.answers import Answer
from core.circuit import Receiver
from core.claim import Claim
from core.due_index import DueKind, EndedKind, IndexRow
from core.gate import Gate
from core.history import Minute
from core.in_flight import InFlight
from core.job import Job
from core.request import Request
from core.scheduling import Due
from core.webhook import PostResult
from core.window import Change, Limits

PAGE_MAX = 50
FOREVER_MS = 10**15
"""Later than any time."""

Record = TypeVar("Record")


class Clock(Protocol):
    """Wall time, monotonic time, and waiting."""

    def now_ms(self) -> int:
        """Return milliseconds since the epoch."""
        ...

    def monotonic_ms(self) -> int:
        """Return milliseconds that never run backwards."""
        ...

    async def sleep_ms(self, duration_ms: int) -> None:
        """Wait that long."""
        ...


class Randomness(Protocol):
    """The only source of random values."""

    def request_id(self, now_ms: int) -> str:
        """Return a UUIDv7."""
        ...

    def token(self) -> str:
        """Return a short unique id."""
        ...

    def fraction(self) -> float:
        """Return a number in [0, 1)."""
        ...


class Telemetry(Protocol):
    """Writes events and metrics. They never contain a message's text, a signature or a key."""

    def event(self, name: str, metrics: Mapping[str, float] | None = None, **fields: object) -> None:
        """Write one structured line."""
        ...

    def about(self, **fields: object) -> AbstractContextManager[None]:
        """Add fields to each line that is written inside, also by tasks that begin inside."""
        ...


@dataclass(frozen=True, slots=True)
class Written(Generic[Record]):
    """The write landed; `record` is what is stored now."""

    record: Record


@dataclass(frozen=True, slots=True)
class Conflict(Generic[Record]):
    """The stored record was not the expected one; `record` is the stored one, None if there is none."""

    record: Record | None


class WindowStore(Protocol):
    """Stores the gate, window included: one item, by which all functions share the upstream's limit."""

    async def read(self) -> Gate:
        """Return the gate, strongly consistent. A missing one is created with a full window first."""
        ...

    async def apply(self, change: Change) -> Written[Gate] | Conflict[Gate]:
        """Carry out a conditional write, once."""
        ...


@dataclass(frozen=True, slots=True)
class RequestKey:
    """A row of the due index that names a request. `due_ms`: if it has ended, when it ended.

    `created_ms`, `signed`: when it was accepted, and whether it has its signature.
    """

    job_id: str
    request_id: str
    due_ms: int
    created_ms: int = field(default=0, compare=False)
    signed: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Page:
    """Some requests of a job that this version can read, open or not, in the order of their ids.

    At most `PAGE_MAX`. `next_id`: where the next page begins; None after the last one.
    """

    requests: tuple[Request, ...] = ()
    next_id: str | None = None


@dataclass(frozen=True, slots=True)
class OwnKey:
    """A row of a caller's own requests: in the order of acceptance, then of ids."""

    request_id: str
    created_ms: int


class Jobs(Protocol):
    """Jobs, each with its open requests. Reads are strongly consistent."""

    async def job(self, job_id: str) -> Job | None:
        """Return the job."""
        ...

    async def load(self, job_id: str) -> tuple[Job | None, Page]:
        """Return the job and the first page of the requests that may be open: from its `open_from` on."""
        ...

    async def page(self, job_id: str, first_id: str) -> Page:
        """Return a page of a job's requests, from this id on; without a job too."""
        ...

    async def write_job(self, before: Job | None, after: Job) -> Written[Job] | Conflict[Job]:
        """Write a job if the stored one is still `before` (None: if there is none)."""
        ...


class Requests(Protocol):
    """Requests. Reads are strongly consistent."""

    async def accept(self, request: Request) -> Request:
        """Store a new request, so that it is also found by its id alone, and return it as stored.

        A 202 is answered only after this.
        """
        ...

    async def accept_and_schedule(
        self, request: Request, before: Job | None, after: Job
    ) -> tuple[Request, Job | None]:
        """Store a new request and, if the stored job is still `before`, write its job: both at once.

        Return both as stored; None for a job that has changed: then only the request is stored.
        """
        ...

    async def request(self, request_id: str) -> Request | None:
        """Return a request by its id alone."""
        ...

    async def request_of(self, job_id: str, request_id: str) -> Request | None:
        """Return a request of a known job."""
        ...

    async def write_request(self, before: Request, after: Request) -> Written[Request] | Conflict[Request]:
        """Write a request if the stored one is still `before`."""
        ...

    async def count_requests(self, job_id: str, first_id: str, limit: int) -> int:
        """Count a job's requests from this id on, up to `limit`; a little late."""
        ...


class DueIndex(Protocol):
    """The due index: work that is due and requests that ended, by time. Reads are eventually consistent."""

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
        """Return the scheduled jobs that are due by then, in the order of `due_ms`; those `after` a row.

        `client`: whose fresh ones. `from_ms`: none that are due earlier.
        """
        ...

    async def due_requests(
        self, kind: DueKind, until_ms: int, limit: int, after: RequestKey | None = None, *, from_ms: int = 0
    ) -> list[RequestKey]:
        """Return the requests that are to be looked at by then, in the order of `due_ms`; `after` a row.

        `from_ms`: none that are due earlier.
        """
        ...

    async def ended(self, kind: EndedKind, limit: int) -> list[RequestKey]:
        """Return the requests that ended last, newest first."""
        ...

    async def own(self, client: str, limit: int, before: OwnKey | None = None) -> list[OwnKey]:
        """Return a caller's requests, newest first; those `before` a row."""
        ...

    async def count_before(self, row: IndexRow, limit: int) -> int:
        """Count the rows of the same partition that are due earlier, up to `limit`."""
        ...


class JobStore(Jobs, Requests, DueIndex, Protocol):
    """Jobs, requests and the due index, which one table holds. Most callers need one of the three."""


@dataclass(frozen=True, slots=True)
class Received:
    """A received queue message. It is received again if it is not deleted within its visibility timeout."""

    text: str
    receipt: str


class Queue(Protocol):
    """A queue that may lose, delay or repeat any message."""

    async def send(self, texts: Sequence[str], *, delay_ms: int = 0) -> None:
        """Send messages; each may be delayed by at most 15 minutes."""
        ...

    async def receive(self, limit: int, wait_ms: int) -> list[Received]:
        """Receive up to `limit` (at most 10), waiting for the first one up to `wait_ms` (at most 20 s)."""
        ...

    async def delete(self, receipts: Sequence[str]) -> None:
        """Delete messages that were received."""
        ...


class ClaimStore(Protocol):
    """Idempotency keys."""

    async def take(self, claim: Claim) -> Claim:
        """Store a claim unless its key is held; return the one that is stored then."""
        ...

    async def write(self, before: Claim, after: Claim) -> bool:
        """Write a claim if the stored one is still `before`, without a reply; say whether it was."""
        ...


class Countable(Protocol):
    """A queue whose messages are only counted."""

    async def count(self) -> int:
        """Return about how many messages there are that are not being processed."""
        ...


class Upstream(Protocol):
    """The signing API. Exactly one HTTP request per call, and none if `may_send` returns false."""

    async def sign(self, message: str, *, call_limit_ms: int, may_send: Callable[[], bool]) -> Answer:
        """Ask for a signature. Errors are returned as an `Answer` too; none is raised."""
        ...

    async def probe(self, *, call_limit_ms: int, may_send: Callable[[], bool]) -> Answer:
        """Request the root path; the answer shows whether the key is good."""
        ...


class Deployment(Protocol):
    """Reads what was deployed last; this instance may be of an older deployment."""

    async def limits(self) -> Limits:
        """Return the limits of the settings that are deployed now."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports that calls need, both in the API and in the processor."""

    store: JobStore
    window_store: WindowStore
    upstream: Upstream
    work_queue: Queue
    notifications: Queue
    clock: Clock
    randomness: Randomness
    telemetry: Telemetry


class History(Protocol):
    """Stores one item about the service for each minute, for two weeks."""

    async def write(self, minute: Minute) -> None:
        """Store an item."""
        ...

    async def since(self, at_ms: int) -> list[Minute]:
        """Return the items from then on, oldest first."""
        ...

    async def last(self, until_ms: int) -> Minute | None:
        """Return the newest item up to then; None if there is none."""
        ...


class ReceiverStore(Protocol):
    """What all notifiers share about receivers. Reads are strongly consistent."""

    async def receiver(self, name: str) -> Receiver:
        """Return a caller's receiver; one that is not stored was never tried."""
        ...

    async def write_receiver(
        self, before: Receiver, after: Receiver
    ) -> Written[Receiver] | Conflict[Receiver]:
        """Write a receiver if the stored one is still `before`."""
        ...

    async def in_flight(self, name: str) -> InFlight:
        """Return the taken places of a host or address; none is taken if nothing is stored."""
        ...

    async def write_in_flight(
        self, before: InFlight, after: InFlight
    ) -> Written[InFlight] | Conflict[InFlight]:
        """Write places if the stored ones are still `before`."""
        ...


class Poster(Protocol):
    """Sends webhooks. Errors are returned as a `PostResult`; none is raised."""

    async def resolve(self, url: str) -> Sequence[str] | PostResult:
        """Return the addresses that may be called for a URL, or why there is none."""
        ...

    async def post(
        self, url: str, addresses: Sequence[str], headers: Mapping[str, str], body: bytes
    ) -> PostResult:
        """Send one webhook to one of these addresses."""
        ...
