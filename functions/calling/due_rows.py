"""Reads the jobs that are due. The due index has partitions of fresh jobs and of retries for each caller."""

import asyncio
from collections.abc import Iterable

from core import waiting
from core.due_index import DueKind
from core.gate import Gate
from core.scheduling import Due
from ports import DueIndex

CALLERS_MAX = 100
"""Further callers are read the next time, when others have had their turns."""
NO_CLIENT = ""
"""Earlier versions kept all retries in one partition."""


def callers(gate: Gate, kind: DueKind) -> list[str]:
    """Return the callers whose partitions of a kind are to be read, in the order of their turns."""
    if kind is DueKind.FRESH:
        return waiting.in_turn(gate.waiting, gate.hints.served)[:CALLERS_MAX]
    return [NO_CLIENT, *waiting.in_turn(gate.open_requests, gate.hints.retry_served)[:CALLERS_MAX]]


async def waiting_jobs(store: DueIndex, gate: Gate, until_ms: int, limit: int) -> list[Due]:
    """Return up to `limit` waiting jobs of each caller, in the order of `due_ms`."""
    return await _of(callers(gate, DueKind.FRESH), store, DueKind.FRESH, until_ms, limit)


async def retries(store: DueIndex, gate: Gate, until_ms: int, limit: int, *, from_ms: int = 0) -> list[Due]:
    """Return up to `limit` retries, those that are due first; none that are due before `from_ms`."""
    rows = await _of(callers(gate, DueKind.RETRY), store, DueKind.RETRY, until_ms, limit, from_ms)
    return rows[:limit]


async def _of(
    clients: Iterable[str], store: DueIndex, kind: DueKind, until_ms: int, limit: int, from_ms: int = 0
) -> list[Due]:
    pages = await asyncio.gather(
        *(store.due_jobs(kind, until_ms, limit, client=client, from_ms=from_ms) for client in clients)
    )
    return sorted((due for page in pages for due in page), key=lambda due: due.due_ms)
