"""Values that travel with the window and that exactness does not rest on.

They save reads and messages and make estimates better. Each may be lost or stale without harm to a promise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from core.waiting import entered_field_of, field_of
from core.window import Change, Window

LATENCIES_KEPT = 8
DEFAULT_LATENCY_MS = 500
TRUST_MIN_MS = 2_000
"""A wake-up that is nearer may start a run that reads the index before it shows what was just written."""


@dataclass(frozen=True, slots=True)
class Hints:
    """Part of the shared item.

    `latencies_ms`: the last answered calls, newest last.
    `served`: the caller whose fresh job was called last; the next turn is another's.
    `wake_at_ms`: the moment of the earliest wake-up under way; in the past, there is none.
    `slow_probe_at_ms`: when a call was last tried inline although the upstream is slow.
    """

    latencies_ms: tuple[int, ...] = ()
    wake_at_ms: int = 0
    slow_probe_at_ms: int = 0
    served: str = ""

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


def enter(window: Window, client: str, now_ms: int) -> Change:
    """Count a job of a caller that begins to wait for its first call."""
    return Change(
        window.limits.version,
        values={entered_field_of(client): now_ms},
        increments={field_of(client): 1},
    )


def leave(window: Window, waiting: Mapping[str, int], client: str) -> Change | None:
    """Count one job less of a caller: it waits no more, and was not called. None if none is counted."""
    if waiting.get(client, 0) <= 0:
        return None
    return Change(window.limits.version, increments={field_of(client): -1})


def announce(
    hints: Hints, window: Window, now_ms: int, *, at_ms: int | None, counts: Mapping[str, int]
) -> Change | None:
    """Set the moment of the next wake-up, and change counts of waiting jobs by these.

    Of many who leave something at once, one sets the moment, and sends the message. None if there is
    nothing to write.
    """
    counted = Change(window.limits.version, increments=counts)
    if at_ms is None or not wake_up_needed(hints, now_ms, at_ms):
        return counted if counts else None
    seen, wake = {"wake_at_ms": hints.wake_at_ms}, {"wake_at_ms": at_ms}
    return counted.also(Change(window.limits.version, expected=seen, values=wake))
