"""Whether one more job may wait, and if not, which limit says so. Costs the same however many wait."""

from enum import StrEnum

from core import scheduling, waiting
from core.gate import Gate

UNKNOWN_SHARE = 0.5
"""Of what fits, as last seen, so much may wait while nobody can tell how much does."""


class Full(StrEnum):
    """A limit that is reached."""

    BACKLOG = "backlog-too-long"
    CLIENT_BACKLOG = "client-backlog-full"
    MESSAGE_WAITERS = "message-waiters-full"


def admits(gate: Gate, client: str, now_ms: int, *, wait_max_ms: int, client_share: float) -> Full | None:
    """Return the limit that keeps a caller's new job from waiting; None if it may.

    All that wait must have their first call within `wait_max_ms`, and one caller's are at most `client_share`
    of them, so that another one finds room.
    """
    room = scheduling.calls_within(gate, now_ms, wait_max_ms)
    if waiting.total(gate.waiting) >= room:
        return Full.BACKLOG
    own = gate.waiting.get(client, 0)
    return Full.CLIENT_BACKLOG if own >= max(1, int(room * client_share)) else None


def admits_unseen(
    gate: Gate | None, accepted: int, limit_calls: int, now_ms: int, *, wait_max_ms: int
) -> bool:
    """Whether an instance may accept one more while it can't read the gate.

    `gate`: as last seen; `accepted`: what it has accepted since. Without any, as much as one window serves.
    """
    if gate is None:
        return accepted < limit_calls
    room = scheduling.calls_within(gate, now_ms, wait_max_ms)
    return waiting.total(gate.waiting) + accepted < room * UNKNOWN_SHARE
