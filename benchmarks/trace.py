"""What happened in one run, and the figures that are compared."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from benchmarks.loads import CALL_S, CALLS_MAX, WINDOW_S, Message
from core.scheduling import RESERVE_MAX


@dataclass(frozen=True, slots=True)
class Call:
    """One call at the upstream. `due_s`: since when it could have been made."""

    message: int
    due_s: float
    at_s: float
    first: bool
    signed: bool


@dataclass(slots=True)
class Trace:
    """All calls of one run, in order, and how many requests were answered 200 at once."""

    messages: Sequence[Message]
    keeps_reserve: bool = False
    calls: list[Call] = field(default_factory=list)
    at_once: int = 0
    _first_s: dict[int, float] = field(default_factory=dict)

    def call(self, message: int, due_s: float, at_s: float) -> bool:
        """Make a call; return whether it is answered with a signature."""
        first = message not in self._first_s
        since_s = at_s - self._first_s.setdefault(message, at_s)
        signed = self.messages[message].well(since_s)
        self.calls.append(Call(message, min(due_s, at_s), at_s, first, signed))
        return signed

    def first_s(self, message: int) -> float | None:
        """When a message was first called."""
        return self._first_s.get(message)

    @property
    def waits_s(self) -> list[float]:
        """How long each signed message took, shortest first."""
        return sorted(
            call.at_s + CALL_S - self.messages[call.message].arrives_s for call in self.calls if call.signed
        )

    @property
    def worst_window(self) -> int:
        """The most calls that the upstream saw within any window."""
        times_s = [call.at_s for call in self.calls]
        return max(sum(start_s <= at_s < start_s + WINDOW_S for at_s in times_s) for start_s in times_s)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def allowance_share(trace: Trace) -> float:
    """How much of the allowance was used while work was due.

    A call uses a slot for one window from when it reached the upstream. While only retries are due, the
    slots that the reserve keeps free for newcomers count as used.
    """
    steps: list[tuple[float, str, int]] = []
    for call in trace.calls:
        waiting = "fresh" if call.first else "retries"
        steps += [(call.due_s, waiting, 1), (call.at_s, waiting, -1)]
        steps += [(call.at_s, "used", 1), (call.at_s + WINDOW_S, "used", -1)]
        if call.first:
            steps += [(call.at_s, "arrivals", 1), (call.at_s + WINDOW_S, "arrivals", -1)]
    state = {"fresh": 0, "retries": 0, "used": 0, "arrivals": 0}
    due_s = used_s = 0.0
    for (at_s, name, change), (until_s, _, _) in pairwise(sorted(steps)):
        state[name] += change
        if state["fresh"] or state["retries"]:
            due_s += until_s - at_s
            used_s += (until_s - at_s) * _used(state, keeps_reserve=trace.keeps_reserve) / CALLS_MAX
    return used_s / due_s if due_s else 1.0


def _used(state: dict[str, int], *, keeps_reserve: bool) -> int:
    reserve = 0
    if keeps_reserve and state["arrivals"] and not state["fresh"]:
        reserve = min((state["arrivals"] + 1) // 2 + 1, RESERVE_MAX)
    return min(CALLS_MAX, state["used"] + reserve)


@dataclass(frozen=True, slots=True)
class Figures:
    """One run in numbers, or the mean of many."""

    last_done_s: float
    wait_mean_s: float
    wait_p95_s: float
    at_once: float
    calls_per_signature: float
    allowance_share: float


def figures(trace: Trace) -> Figures:
    """Measure one run, in which every message was signed."""
    waits_s = trace.waits_s
    signed = len(waits_s)
    return Figures(
        last_done_s=max(call.at_s for call in trace.calls) + CALL_S,
        wait_mean_s=sum(waits_s) / signed,
        wait_p95_s=percentile(waits_s, 0.95),
        at_once=trace.at_once,
        calls_per_signature=len(trace.calls) / signed,
        allowance_share=allowance_share(trace),
    )
