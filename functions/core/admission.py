"""Decides whether one more job may wait. The cost does not depend on how many jobs wait."""

from enum import StrEnum

from core import scheduling, waiting
from core.config import CallSettings
from core.gate import Gate

UNKNOWN_SHARE = 0.5
"""While the gate can't be read, only this share of the backlog that was last known to fit is accepted."""


class Full(StrEnum):
    """A limit that is reached."""

    BACKLOG = "backlog-too-long"
    CLIENT_BACKLOG = "client-backlog-full"


def admits(gate: Gate, client: str, now_ms: int, settings: CallSettings) -> Full | None:
    """Return the limit that does not let a caller's new job wait; None if it may wait.

    All waiting jobs must have their first call in time. A caller's limit follows from the room that is left:
    alone it may fill its share of all, and each further caller still finds room, however many there are. (In
    switches this is known as dynamic thresholds for a shared buffer.)
    """
    left = _room(gate, now_ms, settings) - waiting.total(gate.waiting)
    if left <= 0:
        return Full.BACKLOG
    own, share = max(0, gate.waiting.get(client, 0)), settings.client_backlog_share
    return Full.CLIENT_BACKLOG if own * (1 - share) >= left * share else None


def admits_unseen(gate: Gate | None, accepted: int, now_ms: int, settings: CallSettings) -> bool:
    """Whether an instance may accept one more job while it can't read the gate.

    `gate`: as last read; None if never, then one window's jobs may be accepted. `accepted`: how many jobs
    the instance has accepted since it last read the gate.
    """
    if gate is None:
        return accepted < settings.limits.calls
    room = _room(gate, now_ms, settings)
    return waiting.total(gate.waiting) + accepted < room * UNKNOWN_SHARE


def _room(gate: Gate, now_ms: int, settings: CallSettings) -> int:
    """Return how many jobs may wait, rounded up: as many as are called in time whatever else happens.

    Until a job is late, overdue retries and callers who come later may take all calls. From then on every
    second call is for the oldest job.
    """
    before_late, in_time = (
        scheduling.calls_within(gate, now_ms, span_ms)
        for span_ms in (settings.late_ms, settings.first_call_max_ms)
    )
    return (in_time - before_late + 1) // 2
