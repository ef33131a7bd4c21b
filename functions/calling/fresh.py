"""Reads the jobs that wait for their first call. The due index has a partition of them for each caller."""

import asyncio

from core import waiting
from core.due_index import DueKind
from core.gate import Gate
from core.scheduling import Due
from ports import DueIndex

CALLERS_MAX = 100


async def waiting_jobs(store: DueIndex, gate: Gate, until_ms: int, limit: int) -> list[Due]:
    """Return up to `limit` waiting jobs of each of the next `CALLERS_MAX` callers, in the order of `due_ms`.

    Further callers are read the next time, when others have had their turns.
    """
    clients = waiting.in_turn(gate.waiting, gate.hints.served)[:CALLERS_MAX]
    pages = await asyncio.gather(
        *(store.due_jobs(DueKind.FRESH, until_ms, limit, client=client) for client in clients)
    )
    return sorted((due for page in pages for due in page), key=lambda due: due.due_ms)
