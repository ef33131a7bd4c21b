"""Where records stand on the due index: in which partition, and when somebody is to look at them."""

from dataclasses import dataclass
from enum import StrEnum


class DueKind(StrEnum):
    """The partitions of what is not done."""

    FRESH = "fresh"
    RETRY = "retry"
    OPEN = "open"
    DELIVERY = "delivery"


class EndedKind(StrEnum):
    """The partitions of requests that nothing is to be done for."""

    DONE = "done"
    UNDELIVERABLE = "undeliverable"  # its webhook was given up


def own_partition(client: str) -> str:
    """Return the partition where a caller's requests stand by their acceptance, for good."""
    return f"client#{client}"


@dataclass(frozen=True, slots=True)
class Place:
    """A row of the index. `at_ms`: when it is due, or when it ended."""

    kind: DueKind | EndedKind
    at_ms: int
    client: str = ""

    @property
    def partition(self) -> str:
        """The partition's name: jobs that wait for their first call stand apart by caller."""
        return partition(self.kind, self.client)


def partition(kind: DueKind | EndedKind, client: str = "") -> str:
    """Return the name of a partition of the index."""
    return f"{kind}#{client}" if client else kind.value
