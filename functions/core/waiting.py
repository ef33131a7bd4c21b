"""Counts waiting jobs and open requests by caller, and gives the callers their turns.

The shared item has a count for each caller with waiting jobs. One read of it tells whether a new request may
be called at once, how long the backlog is, and which partitions of the due index to read. A count goes up
when a job begins to wait and down when its first call takes a slot. If a crash leaves it wrong, the processor
corrects it from the due index.

A count of open requests goes up beside the durable write and down after the close. Callers that have such a
count are those whose retries are read.
"""

from collections.abc import Iterable, Mapping

COUNT = "waits:"
ENTERED = "entered:"
OPEN_REQUESTS = "open:"
PREFIXES = (COUNT, ENTERED, OPEN_REQUESTS)


def field_of(client: str) -> str:
    """Return the stored name of a caller's count."""
    return COUNT + client


def entered_field_of(client: str) -> str:
    """Return the stored name of the time when a caller's newest waiting job began to wait."""
    return ENTERED + client


def open_field_of(client: str) -> str:
    """Return the stored name of a caller's count of open requests."""
    return OPEN_REQUESTS + client


def total(waiting: Mapping[str, int]) -> int:
    """How many jobs wait."""
    return sum(max(0, count) for count in waiting.values())


def ahead_of(waiting: Mapping[str, int], client: str) -> int:
    """How many calls come before a new job of this caller: its own, and those of the others' turns."""
    own = max(0, waiting.get(client, 0))
    others = (count for name, count in waiting.items() if name != client)
    return own + sum(min(max(0, count), own + 1) for count in others)


def in_turn(clients: Iterable[str], served: str) -> list[str]:
    """Return callers in the order of their turns: by name, beginning after `served`, the last one called."""
    names = sorted(set(clients))
    return [name for name in names if name > served] + [name for name in names if name <= served]
