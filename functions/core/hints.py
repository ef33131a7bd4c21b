"""Values that travel with the window and that exactness does not rest on.

They save reads and make estimates better. Each may be lost or stale without harm to a promise.
"""

from dataclasses import dataclass
from statistics import median

from core.window import Change, FieldValue, Window

LATENCIES_KEPT = 8
DEFAULT_LATENCY_MS = 500
WAKE_MS = 5_000
TOLD_FOR_MS = 250
"""For how long one write for a waiting job also speaks for those that come after it."""


@dataclass(frozen=True, slots=True)
class Hints:
    """Part of the shared item.

    `latencies_ms`: the last answered calls, newest last.
    `fresh_queued_at_ms`: a job was left waiting for its first call until about then.
    `awake_until_ms`: a processor run is at work until then.
    `slow_probe_at_ms`: when a call was last tried inline although the upstream is slow.
    """

    latencies_ms: tuple[int, ...] = ()
    fresh_queued_at_ms: int = 0
    awake_until_ms: int = 0
    slow_probe_at_ms: int = 0

    @property
    def latency_ms(self) -> int:
        """How long the next call will take: the median of the last ones."""
        return round(median(self.latencies_ms or (DEFAULT_LATENCY_MS,)))

    def latencies_with(self, latency_ms: int) -> tuple[int, ...]:
        """Return the latencies to store after one more answer."""
        return (*self.latencies_ms, latency_ms)[-LATENCIES_KEPT:]


def announce(hints: Hints, window: Window, now_ms: int, *, fresh_waits: bool) -> Change | None:
    """Tell newcomers that a fresh job waits, and that a run is being woken if none is at work.

    Of many who see no run at work, one write lands, and its writer wakes the run. None if all is told
    already: a burst costs few writes.
    """
    values: dict[str, FieldValue] = {}
    if fresh_waits and hints.fresh_queued_at_ms < now_ms:
        values["fresh_queued_at_ms"] = now_ms + TOLD_FOR_MS
    if hints.awake_until_ms > now_ms:
        return Change(window.limits.version, values=values) if values else None
    values["awake_until_ms"] = now_ms + WAKE_MS
    return Change(window.limits.version, expected={"awake_until_ms": hints.awake_until_ms}, values=values)


def fall_asleep(hints: Hints, window: Window, until_ms: int) -> Change | None:
    """Note that a run leaves; None if the mark that stands is not the one it made, `until_ms`."""
    if hints.awake_until_ms != until_ms:
        return None
    return Change(window.limits.version, expected={"awake_until_ms": until_ms}, values={"awake_until_ms": 0})
