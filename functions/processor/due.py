"""The jobs that a run may call now, and when it may call the next one.

The due index shows changes a little late. So a run remembers a job that a wake-up names, and a job that it
called itself, until that job is done.
"""

import asyncio
from collections.abc import Iterable, Sequence

from calling.due_rows import callers
from core import scheduling
from core.due_index import DueKind
from core.errors import Unreadable
from core.gate import Gate
from core.job import Job
from core.scheduling import Due, Next
from core.window import Kind
from ports import Clock, JobStore
from processor.backoff import Backoff

AHEAD_MS = 90_000
ROWS_MAX = 100
PAGES_MAX = 20
KINDS = (DueKind.FRESH, DueKind.RETRY)
STALE_MS = 2_000
"""For how long the index may still show a job's old row."""


class DueJobs:
    """The jobs that are due now or soon, as one run knows them."""

    def __init__(self, store: JobStore, clock: Clock, backoff: Backoff) -> None:
        self._store = store
        self._clock = clock
        self._backoff = backoff
        self._shown: dict[DueKind, dict[str, Due]] = {DueKind.FRESH: {}, DueKind.RETRY: {}}
        self._kept: dict[DueKind, dict[str, Due]] = {DueKind.FRESH: {}, DueKind.RETRY: {}}
        self._stale_until_ms: dict[str, int] = {}
        self._more = True
        self._looked_mono_ms: int | None = None
        self.listed: list[Due] = []
        """The fresh jobs that the last look read, including those that are skipped."""

    async def look(self, gate: Gate, age_max_ms: int) -> None:
        """Read the index, unless it was read at most `age_max_ms` ago and not all rows are used up.

        Only the partitions of callers that have a count in the gate are read.
        """
        mono_ms = self._clock.monotonic_ms()
        known = self._looked_mono_ms is not None and mono_ms - self._looked_mono_ms < age_max_ms
        if known and not self.used_up:
            return
        self.listed = []
        queues = [(kind, client) for kind in KINDS for client in callers(gate, kind)]
        results = await asyncio.gather(*(self._rows(kind, client) for kind, client in queues))
        self._more = any(more for _, more in results)
        self._shown = {DueKind.FRESH: {}, DueKind.RETRY: {}}
        for (kind, _), (rows, _) in zip(queues, results, strict=True):
            self._shown[kind] |= rows
        self._looked_mono_ms = mono_ms

    @property
    def used_up(self) -> bool:
        """Whether all due jobs that were read are done, and the index has more."""
        now_ms = self._clock.now_ms()
        return self._more and not any(self._due(kind, now_ms) for kind in KINDS)

    async def name(self, job_ids: Iterable[str]) -> None:
        """Remember the jobs that wake-ups name, if they exist and can be read."""
        for job in await asyncio.gather(*(self._readable(job_id) for job_id in job_ids)):
            if job:
                self.keep(job)

    async def _readable(self, job_id: str) -> Job | None:
        try:
            return await self._store.job(job_id)
        except Unreadable:  # it is logged and skipped when the index shows it
            return None

    def keep(self, job: Job) -> None:
        """Remember a job as it is now; forget it if it is not scheduled."""
        self.drop(job.id)
        if job.due_ms is not None:
            kind = DueKind.RETRY if job.attempts else DueKind.FRESH
            self._kept[kind][job.id] = Due(job.id, job.due_ms, job.oldest_ms, job.client)

    def drop(self, job_id: str) -> None:
        """Forget a job that is done, and ignore its row, which the index may still show for `STALE_MS`."""
        for rows in (*self._shown.values(), *self._kept.values()):
            rows.pop(job_id, None)
        self._stale_until_ms[job_id] = self._clock.now_ms() + STALE_MS

    def turns(self, gate: Gate, *, calls_max: int, late_ms: int) -> list[Next]:
        """Return the jobs to call now, one for each slot that may be taken, up to `calls_max`."""
        now_ms = self._clock.now_ms()
        if gate.closed(now_ms):
            return []
        return scheduling.turns(
            self._due(DueKind.FRESH, now_ms),
            self._due(DueKind.RETRY, now_ms),
            gate.window,
            now_ms,
            scheduling.Turn.of(gate.hints),
            calls_max=calls_max,
            late_ms=late_ms,
        )

    def retries_left(self, turns: Sequence[Next]) -> int:
        """How many retries are due now beside those that are about to be called."""
        called = sum(turn.kind is Kind.RETRY for turn in turns)
        return len(self._due(DueKind.RETRY, self._clock.now_ms())) - called

    def next_call(self, gate: Gate) -> tuple[int, str] | None:
        """When the next call may be made, and for which job; None if none is due soon, or during a pause."""
        now_ms = self._clock.now_ms()
        times = []
        for kind in KINDS:
            rows = [(self._due_ms(row), row.job_id) for row in self._rows_of(kind)]
            if not rows:
                continue
            due_ms, job_id = min(rows)
            at_ms = scheduling.next_call_at_ms(gate, now_ms, due_ms, fresh=kind is DueKind.FRESH)
            if at_ms is not None:
                times.append((at_ms, job_id))
        return min(times, default=None)

    def _due_ms(self, row: Due) -> int:
        """When a job is due; not before its backoff ends."""
        return max(row.due_ms, self._backoff.until_ms(row.job_id))

    def _due(self, kind: DueKind, now_ms: int) -> list[Due]:
        return [row for row in self._rows_of(kind) if self._due_ms(row) <= now_ms]

    def _rows_of(self, kind: DueKind) -> list[Due]:
        return [*self._shown[kind].values(), *self._kept[kind].values()]

    async def _rows(self, kind: DueKind, client: str) -> tuple[dict[str, Due], bool]:
        """Read the index up to the first page with a job that is not skipped; say whether it has more."""
        now_ms = self._clock.now_ms()
        rows, after = dict[str, Due](), None
        for _ in range(PAGES_MAX):
            page = await self._store.due_jobs(kind, now_ms + AHEAD_MS, ROWS_MAX, after, client=client)
            self.listed += page if kind is DueKind.FRESH else []
            rows |= {row.job_id: row for row in page if not self._is_skipped(row.job_id, now_ms)}
            more = len(page) == ROWS_MAX and page[-1].due_ms <= now_ms
            if not more or rows:
                return rows, more
            after = page[-1]
        return rows, False  # reading again at once would find nothing new

    def _is_skipped(self, job_id: str, now_ms: int) -> bool:
        kept = any(job_id in rows for rows in self._kept.values())
        stale = now_ms < self._stale_until_ms.get(job_id, 0)
        return kept or stale or self._backoff.holds(job_id, now_ms)
