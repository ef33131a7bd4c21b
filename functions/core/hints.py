"""Values in the shared item that the limit does not depend on.

They save reads and messages and improve estimates. Each may be lost or stale without breaking a promise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from core.tally import ACCEPTED
from core.waiting import entered_field_of, field_of, open_field_of
from core.window import Change, Window

LATENCIES_KEPT = 8
DEFAULT_LATENCY_MS = 500
TRUST_MIN_MS = 2_000
"""A wake-up that comes sooner may start a run that reads the index before it shows the newest writes."""


@dataclass(frozen=True, slots=True)
class Hints:
    """Part of the shared item.

    `latencies_ms`: the last answered calls, newest last.
    `served`: the caller whose fresh job was called last; the next turn is another caller's.
    `retry_served`: the caller whose retry was called last.
    `old_retry_last`: whether the processor's last call was for a retry overdue by ten windows.
    `late_last`: whether it was for a late job.
    `retries_due`: how many retries were due and not called when the processor last took a slot.
    `wake_at_ms`: when the earliest wake-up arrives that was sent; if it is past, there is none.
    `slow_probe_at_ms`: when the API last called inline although the upstream is slow.
    """

    latencies_ms: tuple[int, ...] = ()
    wake_at_ms: int = 0
    slow_probe_at_ms: int = 0
    served: str = ""
    retry_served: str = ""
    old_retry_last: bool = False
    late_last: bool = False
    retries_due: int = 0

    @property
    def latency_ms(self) -> int:
        """How long the next call should take: the median of the last ones."""
        return round(median(self.latencies_ms or (DEFAULT_LATENCY_MS,)))

    def latencies_with(self, latency_ms: int) -> tuple[int, ...]:
        """Return the latencies to store after one more answer."""
        return (*self.latencies_ms, latency_ms)[-LATENCIES_KEPT:]


# Some work is left for `at_ms`. An earlier wake-up serves it too, if it arrives in time, and not so soon that
# its run may read the due index before the index shows this work.
#
#        now         now + 2 s                     at_ms
#   ──────┼──────────────┼────────────────────────────┼──────────▶ time
#         │  too soon    │          trusted           │  too late
#         │              │  no write, and no message  │
#
#   Too soon or too late: set `wake_at_ms` to `at_ms` and send a message that arrives then.
def wake_up_needed(hints: Hints, now_ms: int, at_ms: int) -> bool:
    """Whether work that is left for `at_ms` needs a wake-up of its own."""
    return not now_ms + TRUST_MIN_MS <= hints.wake_at_ms <= at_ms


def enter(window: Window, client: str, now_ms: int) -> Change:
    """Count a job of a caller that begins to wait for its first call."""
    return Change(
        window.limits.version,
        values={entered_field_of(client): now_ms},
        increments={field_of(client): 1},
    )


def count_open(window: Window, client: str) -> Change:
    """Count an open request of a caller."""
    return Change(window.limits.version, increments={open_field_of(client): 1})


def accept(window: Window, client: str, now_ms: int, *, enters: bool) -> Change:
    """Count an accepted request of a caller as open, and its job if that `enters` the caller's queue."""
    opened = count_open(window, client).also(Change(window.limits.version, increments={ACCEPTED: 1}))
    return opened.also(enter(window, client, now_ms)) if enters else opened


def take_back(window: Window, client: str, *, entered: bool) -> Change:
    """Undo `accept`: the request was not stored."""
    fields = [ACCEPTED, open_field_of(client), *([field_of(client)] if entered else [])]
    return Change(window.limits.version, increments=dict.fromkeys(fields, -1))


def leave(window: Window, waiting: Mapping[str, int], client: str) -> Change | None:
    """Reduce a caller's count by a job that left its queue without a call. None if the count is 0."""
    if waiting.get(client, 0) <= 0:
        return None
    return Change(window.limits.version, increments={field_of(client): -1})


def announce(
    hints: Hints, window: Window, now_ms: int, *, at_ms: int | None, counts: Mapping[str, int]
) -> Change | None:
    """Set the time of the next wake-up, and add `counts` to the counts of waiting jobs.

    If several leave work at once, only one of them sets the time, and sends the message. None if there is
    nothing to write.
    """
    counted = Change(window.limits.version, increments=counts)
    if at_ms is None or not wake_up_needed(hints, now_ms, at_ms):
        return counted if counts else None
    seen, wake = {"wake_at_ms": hints.wake_at_ms}, {"wake_at_ms": at_ms}
    return counted.also(Change(window.limits.version, expected=seen, values=wake))
