"""Values that travel with the window and that exactness does not rest on.

They save reads and messages and make estimates better. Each may be lost or stale without harm to a promise.
"""

from dataclasses import dataclass
from statistics import median

from core.window import Change, FieldValue, Window

LATENCIES_KEPT = 8
DEFAULT_LATENCY_MS = 500
TOLD_FOR_MS = 250
"""For how long one write for a waiting job also speaks for those that come after it."""
TRUST_MIN_MS = 2_000
"""A wake-up that is nearer may start a run that reads the index before it shows what was just written."""


@dataclass(frozen=True, slots=True)
class Hints:
    """Part of the shared item.

    `latencies_ms`: the last answered calls, newest last.
    `fresh_queued_at_ms`: a job was left waiting for its first call until about then.
    `wake_at_ms`: the moment of the earliest wake-up under way; in the past, there is none.
    `slow_probe_at_ms`: when a call was last tried inline although the upstream is slow.
    """

    latencies_ms: tuple[int, ...] = ()
    fresh_queued_at_ms: int = 0
    wake_at_ms: int = 0
    slow_probe_at_ms: int = 0

    @property
    def latency_ms(self) -> int:
        """How long the next call will take: the median of the last ones."""
        return round(median(self.latencies_ms or (DEFAULT_LATENCY_MS,)))

    def latencies_with(self, latency_ms: int) -> tuple[int, ...]:
        """Return the latencies to store after one more answer."""
        return (*self.latencies_ms, latency_ms)[-LATENCIES_KEPT:]


# Who leaves something to be done at `at_ms` trusts the wake-up under way only if it comes in time, and not so
# soon that its run may read the due index before that shows what was just written.
#
#        now         now + 2 s                     at_ms
#   ──────┼──────────────┼────────────────────────────┼──────────▶ time
#         │  too soon    │          trusted           │  too late
#         │              │  no write, and no message  │
#
#   Too soon or too late: set `wake_at_ms` to `at_ms` and send a message that arrives then.
def wake_up_needed(hints: Hints, now_ms: int, at_ms: int) -> bool:
    """Whether no wake-up under way will do for something that is left for `at_ms`."""
    return not now_ms + TRUST_MIN_MS <= hints.wake_at_ms <= at_ms


def announce(
    hints: Hints, window: Window, now_ms: int, *, at_ms: int | None, fresh_waits: bool
) -> Change | None:
    """Set the moment of the next wake-up, and tell newcomers that a fresh job waits.

    Of many who leave something at once, one write lands, and its writer sends the message. None if all is
    known already: a burst costs few writes.
    """
    values: dict[str, FieldValue] = {}
    if fresh_waits and hints.fresh_queued_at_ms < now_ms:
        values["fresh_queued_at_ms"] = now_ms + TOLD_FOR_MS
    if at_ms is None or not wake_up_needed(hints, now_ms, at_ms):
        return Change(window.limits.version, values=values) if values else None
    values["wake_at_ms"] = at_ms
    return Change(window.limits.version, expected={"wake_at_ms": hints.wake_at_ms}, values=values)
