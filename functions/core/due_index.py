"""The rows of the due index: in which partition a record is, and when it is due."""

from dataclasses import dataclass
from enum import StrEnum


class DueKind(StrEnum):
    """The partitions of records that are not done."""

    FRESH = "fresh"
    RETRY = "retry"
    OPEN = "open"
    DELIVERY = "delivery"


class EndedKind(StrEnum):
    """The partitions of requests that are done."""

    DONE = "done"
    UNDELIVERABLE = "undeliverable"  # its webhook was given up


def own_partition(client: str) -> str:
    """Return the partition of all requests of a caller, sorted by acceptance."""
    return f"client#{client}"


@dataclass(frozen=True, slots=True)
class IndexRow:
    """A row of the index. `at_ms`: when it is due, or when it ended."""

    kind: DueKind | EndedKind
    at_ms: int
    client: str = ""

    @property
    def partition(self) -> str:
        """The partition's name. Each caller has its own partitions of fresh jobs and of retries."""
        return partition(self.kind, self.client)


def partition(kind: DueKind | EndedKind, client: str = "") -> str:
    """Return the name of a partition of the index."""
    return f"{kind}#{client}" if client else kind.value
