"""Corrects the counts of callers' open requests, which a crash or a lost write leaves wrong."""

from collections.abc import Iterable

from calling.slots import Slots
from core.due_index import DueKind
from core.gate import Gate
from core.waiting import open_field_of
from core.window import Change, FieldValue
from ports import FOREVER_MS, Clock, JobStore, OwnKey, RequestKey

EVERY_MS = 600_000
SURE_MS = 5_000
"""The due index is late. A count is corrected only if it was wrong by the same number this long ago."""
PAGE_ROWS = 1_000
PAGES_MAX = 50


class OpenCounts:
    """Compares counts with the due index now and then. One object serves all runs of an instance."""

    def __init__(self) -> None:
        self._next_mono_ms = 0
        self._errors: dict[str, int] = {}

    async def correct(self, slots: Slots, clock: Clock, store: JobStore) -> None:
        """Write the counts that were found wrong twice; remove callers without requests and jobs.

        Raises `Unavailable`.
        """
        mono_ms = clock.monotonic_ms()
        if mono_ms < self._next_mono_ms:
            return
        self._next_mono_ms = mono_ms + EVERY_MS
        await slots.write_counts()
        gate = await slots.refresh()
        counts = gate.open_requests
        actual = await _counted(store, counts) if counts else None
        if actual is None:
            self._errors = {}
            return
        errors = {client: count - actual[client] for client, count in counts.items()}
        for client, error in errors.items():
            sure = error and self._errors.get(client) == error
            if sure or (not counts[client] and not await _retries(store, client)):
                await slots.try_once(_correction(gate, client, actual[client]))
        self._errors = {client: error for client, error in errors.items() if error}
        if self._errors:
            self._next_mono_ms = mono_ms + SURE_MS


async def _counted(store: JobStore, clients: Iterable[str]) -> dict[str, int] | None:
    """Count the open requests of callers; None if there are too many to read."""
    rows = await _open_rows(store)
    if rows is None:
        return None
    ids = {row.request_id for row in rows}
    since_ms = min((row.created_ms for row in rows), default=FOREVER_MS)
    return {client: await _own_among(store, client, ids, since_ms) for client in clients}


async def _open_rows(store: JobStore) -> list[RequestKey] | None:
    rows, after = list[RequestKey](), None
    for _ in range(PAGES_MAX):
        page = await store.due_requests(DueKind.OPEN, FOREVER_MS, PAGE_ROWS, after)
        rows += page
        if len(page) < PAGE_ROWS:
            return rows
        after = page[-1]
    return None


async def _own_among(store: JobStore, client: str, ids: set[str], since_ms: int) -> int:
    """Count a caller's own requests among these, none of which was accepted before `since_ms`."""
    found, before = 0, None
    for _ in range(PAGES_MAX if ids else 0):
        page: list[OwnKey] = await store.own(client, PAGE_ROWS, before)
        found += sum(key.request_id in ids for key in page)
        if len(page) < PAGE_ROWS or page[-1].created_ms < since_ms:
            break
        before = page[-1]
    return found


async def _retries(store: JobStore, client: str) -> bool:
    return bool(await store.due_jobs(DueKind.RETRY, FOREVER_MS, 1, client=client))


def _correction(gate: Gate, client: str, actual: int) -> Change:
    name, count = open_field_of(client), gate.open_requests[client]
    value: FieldValue = actual if count or actual else ""
    return Change(gate.window.limits.version, expected={name: count}, values={name: value})
