"""Decides whether one more job may wait. The cost does not depend on how many jobs wait."""

from enum import StrEnum

from core import scheduling, waiting
from core.gate import Gate

UNKNOWN_SHARE = 0.5
"""While the gate can't be read, only this share of the backlog that was last known to fit is accepted."""


class Full(StrEnum):
    """A limit that is reached."""

    BACKLOG = "backlog-too-long"
    CLIENT_BACKLOG = "client-backlog-full"


def admits(gate: Gate, client: str, now_ms: int, *, wait_max_ms: int, client_share: float) -> Full | None:
    """Return the limit that does not let a caller's new job wait; None if it may wait.

    All waiting jobs must have their first call within `wait_max_ms`. One caller's jobs may take at most
    `client_share` of that, so that other callers find room.
    """
    room = _room(gate, now_ms, wait_max_ms)
    if waiting.total(gate.waiting) >= room:
        return Full.BACKLOG
    own = gate.waiting.get(client, 0)
    return Full.CLIENT_BACKLOG if own >= max(1, int(room * client_share)) else None


def admits_unseen(
    gate: Gate | None, accepted: int, limit_calls: int, now_ms: int, *, wait_max_ms: int
) -> bool:
    """Whether an instance may accept one more job while it can't read the gate.

    `gate`: as last read; None if never, then `limit_calls` jobs may be accepted. `accepted`: how many jobs
    the instance has accepted since it last read the gate.
    """
    if gate is None:
        return accepted < limit_calls
    room = _room(gate, now_ms, wait_max_ms)
    return waiting.total(gate.waiting) + accepted < room * UNKNOWN_SHARE


def _room(gate: Gate, now_ms: int, wait_max_ms: int) -> int:
    """Return how many first calls fit, rounded up: overdue retries may take every second call meanwhile."""
    return (scheduling.calls_within(gate, now_ms, wait_max_ms) + 1) // 2
