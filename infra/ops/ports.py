"""What the operator's actions need from outside, and how they fail."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from core.errors import RelayError
from core.request import Request
from ports import Clock, Conflict, History, JobStore, Queue, Received, WindowStore, Written

Secret = dict[str, Any]


class Refused(RelayError):
    """The action is not allowed, and nothing was changed."""


class NothingFound(RelayError):
    """The action found no object."""


class RequestScan(Protocol):
    """Finds requests by properties that no index has."""

    def requests(self) -> AsyncIterator[Request]:
        """Return every request; reads the whole table."""
        ...


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """The secret's document as it was read, and the id of its version."""

    version: str
    document: Secret


class Vault(Protocol):
    """The service's secret."""

    async def read(self) -> StoredSecret:
        """Return the current version; raises `Unavailable`."""
        ...

    async def write(
        self, before: StoredSecret | None, after: Secret
    ) -> Written[StoredSecret] | Conflict[StoredSecret]:
        """Replace the document if the current version is still the one that was read."""
        ...

    async def fill(self, document: Secret) -> bool:
        """Write the first version; False if there is one already."""
        ...


class DeadLetterQueue(Protocol):
    """Messages that could not be handled. A received message is held until it is deleted or released."""

    async def receive(self, limit: int, wait_ms: int) -> list[Received]:
        """Receive up to `limit` (at most 10), waiting for the first one up to `wait_ms` (at most 20 s)."""
        ...

    async def delete(self, receipts: Sequence[str]) -> None:
        """Delete messages that were received."""
        ...

    async def release(self, receipts: Sequence[str]) -> None:
        """Make them receivable again at once."""
        ...

    async def count(self) -> int:
        """Return the approximate number of messages that are not held."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of the operator's tool."""

    store: JobStore
    scan: RequestScan
    window_store: WindowStore
    notifications: Queue
    dead_letters: Mapping[str, DeadLetterQueue]
    vault: Vault
    history: History
    clock: Clock
