"""The metrics of each scheduled run: how many jobs wait, and for how long the oldest has waited."""

import asyncio

from calling.due_rows import retries, waiting_jobs
from core.errors import Unavailable
from ports import Clock, DueIndex, Telemetry, WindowStore

ROWS_MAX = 1_000
DAY_MS = 86_400_000


async def waiting(
    store: DueIndex, window_store: WindowStore, clock: Clock, telemetry: Telemetry
) -> dict[str, float]:
    """Return the metrics `Waiting` (jobs) and `OldestAgeS`. At most `ROWS_MAX` rows of a kind are read.

    The oldest rows are read first, so the age is right even if there are more. Nothing is returned if no job
    waits: an idle month pays for no metric. Unavailability is only logged: the run was made, and must not be
    repeated for its metrics.
    """
    try:
        return await _metrics(store, window_store, clock)
    except Unavailable as error:
        telemetry.event("waiting_not_counted", reason=str(error))
        return {}


async def _metrics(store: DueIndex, window_store: WindowStore, clock: Clock) -> dict[str, float]:
    now_ms = clock.now_ms()
    gate = await window_store.read()
    rows = await asyncio.gather(
        waiting_jobs(store, gate, now_ms, ROWS_MAX),
        retries(store, gate, now_ms + DAY_MS, ROWS_MAX),
    )
    jobs = [due for kind in rows for due in kind]
    if not jobs:
        return {}
    oldest_ms = min(due.oldest_ms for due in jobs)
    return {"Waiting": len(jobs), "OldestAgeS": max(0, now_ms - oldest_ms) / 1000}
