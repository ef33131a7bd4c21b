"""Dead letters, for operators: how many there are, and putting them back in the time that an answer has."""

import asyncio
from collections.abc import Mapping, Sequence

from api.deadline import Deadline
from api.statuses import Viewer
from calling.redrive import Line, Redriven, readable, redrive
from core.errors import Unavailable
from ports import Clock, Telemetry

MESSAGES_MAX = 100
COUNTED_MS = 5_000
COUNT_LIMIT_S = 0.5
LAST_ROUND_MS = 500
"""What sending, deleting and releasing the last letters may take."""


class Redriving:
    """Counts dead letters, and puts them back."""

    def __init__(self, lines: Sequence[Line], clock: Clock, telemetry: Telemetry) -> None:
        self._lines = lines
        self._clock = clock
        self._telemetry = telemetry
        self._counts: Mapping[str, int | None] = {}
        self._count_at_ms = 0

    async def counts(self, deadline: Deadline) -> Mapping[str, int | None]:
        """Return how many each dead-letter queue has, asked anew every few seconds; None: not to be had."""
        if self._clock.monotonic_ms() >= self._count_at_ms:
            limit_s = min(COUNT_LIMIT_S, deadline.left_s())
            counts = await asyncio.gather(*(self._count(line, limit_s) for line in self._lines))
            self._counts = {line.name: count for line, count in zip(self._lines, counts, strict=True)}
            self._count_at_ms = self._clock.monotonic_ms() + COUNTED_MS
        return self._counts

    async def redrive(self, viewer: Viewer, deadline: Deadline) -> Sequence[Redriven]:
        """Put back what can be read, as much as there is time for; raises `Unavailable`."""

        def left_ms() -> int:
            return deadline.left_ms(reserve_ms=LAST_ROUND_MS)

        steps = (redrive(line, readable, messages_max=MESSAGES_MAX, left_ms=left_ms) for line in self._lines)
        try:
            async with asyncio.timeout(deadline.left_s()):
                redriven = await asyncio.gather(*steps)
        except TimeoutError:
            raise Unavailable("timeout") from None
        self._count_at_ms = 0
        moved = {result.line: result.moved for result in redriven}
        self._telemetry.event("dead_letters_redriven", by=viewer.name, moved=moved)
        return redriven

    async def _count(self, line: Line, limit_s: float) -> int | None:
        try:
            async with asyncio.timeout(limit_s):
                return await line.dead_letters.count()
        except (Unavailable, TimeoutError) as error:
            self._telemetry.event("dead_letters_not_counted", queue=line.name, reason=str(error) or "timeout")
            return None
