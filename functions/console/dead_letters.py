"""Counts dead letters, for operators."""

import asyncio
from collections.abc import Mapping

from core.errors import Unavailable
from ports import Clock, Countable, Telemetry
from web.deadline import Deadline

COUNTED_MS = 5_000
COUNT_LIMIT_S = 0.5


class DeadLetters:
    """Counts the messages of the dead-letter queues, by name."""

    def __init__(self, queues: Mapping[str, Countable], clock: Clock, telemetry: Telemetry) -> None:
        self._queues = queues
        self._clock = clock
        self._telemetry = telemetry
        self._counts: Mapping[str, int | None] = {}
        self._count_at_ms = 0

    async def counts(self, deadline: Deadline) -> Mapping[str, int | None]:
        """Return how many each queue has, counted every few seconds; None if a count is not known."""
        if self._clock.monotonic_ms() >= self._count_at_ms:
            limit_s = min(COUNT_LIMIT_S, deadline.left_s())
            counts = await asyncio.gather(*(self._count(name, limit_s) for name in self._queues))
            self._counts = dict(zip(self._queues, counts, strict=True))
            self._count_at_ms = self._clock.monotonic_ms() + COUNTED_MS
        return self._counts

    async def _count(self, name: str, limit_s: float) -> int | None:
        try:
            async with asyncio.timeout(limit_s):
                return await self._queues[name].count()
        except (Unavailable, TimeoutError) as error:
            self._telemetry.event("dead_letters_not_counted", queue=name, reason=str(error) or "timeout")
            return None
