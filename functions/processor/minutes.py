"""Writes the state of the service once a minute, for the console's history and its headline."""

import asyncio

from calling.due_rows import retries, waiting_jobs
from core import history
from core.due_index import EndedKind
from core.errors import Unavailable
from core.headline import Facts
from core.history import Ended, Minute
from core.waiting import total
from ports import Clock, DueIndex, History, RequestKey, Telemetry, WindowStore

ROWS_MAX = 200
EVERY_MS = 45_000
"""No item is written if the last one is younger: messages start runs too."""
LIMIT_S = 3
BEFORE_MS = 600_000
HOUR_MS = 3_600_000


class Minutes:
    """Writes one item a minute. Unavailability is only logged: it must not stop a run."""

    def __init__(
        self, store: DueIndex, window_store: WindowStore, items: History, clock: Clock, telemetry: Telemetry
    ) -> None:
        self._store = store
        self._window_store = window_store
        self._items = items
        self._clock = clock
        self._telemetry = telemetry

    async def note(self) -> None:
        """Write this minute's item, if there is none yet."""
        try:
            async with asyncio.timeout(LIMIT_S):
                await self._write_item()
        except (Unavailable, TimeoutError) as error:
            self._telemetry.event("history_not_written", reason=str(error) or "timeout")

    async def _write_item(self) -> None:
        now_ms = self._clock.now_ms()
        items = history.believed(await self._items.since(now_ms - BEFORE_MS), now_ms)
        before = items[-1] if items else None
        if before and now_ms - before.at_ms < EVERY_MS:
            return
        gate = await self._window_store.read()
        waiting, retrying, done, undeliverable = await asyncio.gather(
            waiting_jobs(self._store, gate, now_ms, ROWS_MAX),
            retries(self._store, gate, now_ms + HOUR_MS, ROWS_MAX),
            self._store.ended(EndedKind.DONE, ROWS_MAX),
            self._store.ended(EndedKind.UNDELIVERABLE, ROWS_MAX),
        )
        facts = Facts(
            now_ms,
            gate,
            total(gate.waiting),
            len(retrying),
            uncounted=len(retrying) == ROWS_MAX,
            webhooks_given_up=sum(key.due_ms > now_ms - HOUR_MS for key in undeliverable),
        )
        oldest_ms = min((due.oldest_ms for due in waiting + retrying), default=None)
        ended = _ended_since(before, done + undeliverable)
        given_up = len(_ended_since(before, undeliverable))
        await self._items.write(history.minute(before, facts, oldest_ms, ended, given_up))


def _ended_since(before: Minute | None, keys: list[RequestKey]) -> list[Ended]:
    """Return the requests that ended since the item before; none if there is no item before."""
    since_ms = before.at_ms if before else None
    return [
        Ended(key.created_ms, key.due_ms, key.signed)
        for key in keys
        if since_ms is not None and key.due_ms > since_ms
    ]
