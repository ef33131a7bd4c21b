"""Who waits for a first call, and whose turn is next.

The shared item has a count of waiting jobs for each caller with any: one read tells whether a newcomer may be
called at once, how long the backlog is, and whose partitions of the due index to read. A count goes up when a
job begins to wait and down with the settle of its first call; where a crash left it wrong, the processor sets
it right by what the index shows.
"""

from collections.abc import Iterable, Mapping

COUNT = "waits:"
ENTERED = "entered:"
PREFIXES = (COUNT, ENTERED)


def field_of(client: str) -> str:
    """Return the name under which a caller's count is stored."""
    return COUNT + client


def entered_field_of(client: str) -> str:
    """Return the name under which the moment is stored at which a job of a caller began to wait last."""
    return ENTERED + client


def total(waiting: Mapping[str, int]) -> int:
    """How many jobs wait."""
    return sum(max(0, count) for count in waiting.values())


def ahead_of(waiting: Mapping[str, int], client: str) -> int:
    """How many calls come before a newcomer's of this caller: its own, and a turn of others before each."""
    own = max(0, waiting.get(client, 0))
    others = (count for name, count in waiting.items() if name != client)
    return own + sum(min(max(0, count), own + 1) for count in others)


def in_turn(clients: Iterable[str], served: str) -> list[str]:
    """Return callers in the order of their turns: by name, from the one after the one served last."""
    names = sorted(set(clients))
    return [name for name in names if name > served] + [name for name in names if name <= served]
