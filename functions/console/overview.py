"""What the console shows, and what it can do: deliver webhooks again, and resume calls."""

import asyncio
from collections.abc import Awaitable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from calling.redelivery import replay
from calling.slots import Slots
from calling.wakeups import WakeUps
from console.dead_letters import DeadLetters
from console.figures import Figures, figures
from console.reading import HOUR_MS, Reader, Reading, facts
from core import gate as gates
from core import scheduling
from core.errors import Unavailable
from core.gate import Gate
from core.headline import Headline, headline
from core.history import BUCKETS_MAX, Point, points
from core.messages import NotificationMessage
from core.request import Request
from core.scheduling import Due
from ports import History, Ports
from web.access import Viewer, visible
from web.deadline import Deadline


@dataclass(frozen=True, slots=True)
class Row:
    """A request. `ready_at_ms`: when its next call should have ended, as far as is known.

    `error`: why its message's last call failed.
    """

    request: Request
    called: bool
    ready_at_ms: int | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of the service, as far as a viewer may see it. `dead_letters`: None for callers."""

    reading: Reading
    headline: Headline
    rows: Sequence[Row]
    figures: Figures
    dead_letters: Mapping[str, int | None] | None


class Console:
    """Reads the overview, and starts deliveries again."""

    def __init__(self, ports: Ports, slots: Slots, history: History, dead_letters: DeadLetters) -> None:
        self._store = ports.store
        self._notifications = ports.notifications
        self._clock = ports.clock
        self._telemetry = ports.telemetry
        self._slots = slots
        self._wake_ups = WakeUps(ports, slots)
        self._reader = Reader(ports.store, slots.refresh, history, ports.clock)
        self._dead_letters = dead_letters

    async def overview(self, viewer: Viewer, deadline: Deadline) -> Overview:
        """Return what this viewer may see; raises `Unavailable`."""
        async with deadline.limit():
            reading = await self._reader.read()
        counts = await self._dead_letters.counts(deadline) if viewer.sees_all else None
        seen = [request for request in reading.requests if viewer.sees(request)]
        dead_letters = sum(count or 0 for count in (counts or {}).values())
        return Overview(
            reading,
            headline(facts(reading, seen, dead_letters)),
            rows=_rows(seen, reading),
            figures=figures(seen, reading.now_ms, reading.listed_since_ms),
            dead_letters=counts,
        )

    async def history(self, hours: int, deadline: Deadline) -> list[Point]:
        """Return the points of the last hours, at most `BUCKETS_MAX`; raises `Unavailable`."""
        async with deadline.limit():
            minutes = await self._reader.minutes(self._clock.now_ms() - hours * HOUR_MS)
        return points(minutes, max(1, hours * HOUR_MS // BUCKETS_MAX))

    async def resume(self, viewer: Viewer, deadline: Deadline) -> bool:
        """End an operator's pause of calls; say whether there was one."""
        viewer.require_all()
        async with deadline.limit():
            await self._slots.refresh()
            changed = await self._slots.amend(lambda gate: gates.resume(gate, self._clock.now_ms()))
        self._telemetry.event("calls_resumed", by=viewer.name, changed=changed)
        await self._best_effort(self._wake_ups.leave("", self._clock.now_ms()), deadline)
        return changed

    async def replay(self, request_id: str, viewer: Viewer, deadline: Deadline) -> Request:
        """Start a request's delivery again; raises `Unavailable`, `NotReplayable` and `RequestProblem`."""
        async with deadline.limit():
            request = await visible(self._store, request_id, viewer)
            replayed = await replay(self._store, request, self._clock.now_ms())
        self._telemetry.event("delivery_replayed", request_id=request_id, by=viewer.name)
        message = NotificationMessage(replayed.job_id, replayed.id, replayed.delivery.attempts)
        await self._best_effort(self._notifications.send([message.encode()]), deadline)
        return replayed

    async def _best_effort(self, step: Awaitable[None], deadline: Deadline) -> None:
        """Carry out a step in the time that is left. A failure is only logged: the processor repairs it."""
        try:
            async with asyncio.timeout(deadline.left_s()):
                await step
        except (Unavailable, TimeoutError) as error:
            self._telemetry.event("message_not_sent", reason=str(error) or "timeout")


def _rows(requests: Iterable[Request], reading: Reading) -> list[Row]:
    """Join requests with what their jobs' rows show: which were called, and when the next call ends."""
    called: Container[str] = {due.job_id for due in reading.retrying}
    ready_at_ms = _ready_times_ms(reading.gate, reading.now_ms, reading.waiting, reading.retrying)
    return [
        Row(
            request,
            request.job_id in called,
            ready_at_ms.get(request.job_id) if request.open else None,
            reading.errors.get(request.job_id, "") if request.open else "",
        )
        for request in requests
    ]


def _ready_times_ms(
    gate: Gate, now_ms: int, waiting: Sequence[Due], retrying: Sequence[Due]
) -> dict[str, int]:
    """When each job's next call should have ended, by job."""
    if gate.paused:
        return {}
    ready = {due.job_id: scheduling.ready_at_ms(gate, now_ms, ahead) for ahead, due in enumerate(waiting)}
    return ready | {
        due.job_id: scheduling.retry_ready_at_ms(gate, now_ms, ahead, due.due_ms)
        for ahead, due in enumerate(retrying)
    }
