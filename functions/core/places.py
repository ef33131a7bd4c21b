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


@dataclass(frozen=True, slots=True)
class Place:
    """A row of the index. `at_ms`: when it is due, or when it ended."""

    kind: DueKind | EndedKind
    at_ms: int
