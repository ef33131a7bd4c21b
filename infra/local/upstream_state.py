"""The stand-in's state, kept over a restart: arrivals, each message's outage, the worst window."""

import hashlib
from collections import OrderedDict, deque
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.local.journal import Event, Journal
from infra.local.upstream_model import arrivals_within, worst_window

ARRIVALS_KEPT = 10_000
FATES_KEPT = 10_000
MESSAGE_CHARACTERS_KEPT = 256
LINES_BEFORE_COMPACTING = 5 * ARRIVALS_KEPT


@dataclass(frozen=True)
class Arrival:
    """One call that counts: its arrival (epoch seconds), its message, and its result."""

    t: float
    message: str
    outcome: str


class State:
    """The stand-in's state. Every change is on disk before the call that caused it is answered."""

    def __init__(self, path: Path, window_s: float) -> None:
        """Load the state of an earlier process, and compact its file."""
        self.arrivals: deque[Arrival] = deque(maxlen=ARRIVALS_KEPT)
        self.arrivals_total = 0
        self.violations = 0
        self._worst = 0
        self._worst_of_s = window_s
        self._outage_ends_s: OrderedDict[str, float] = OrderedDict()
        self._journal = Journal(path)
        for event in self._journal.loaded:
            self._apply(event)
        earlier_worst = self._worst if self._worst_of_s == window_s else 0
        self._worst = max(earlier_worst, worst_window(self._times(), window_s))
        self._worst_of_s = window_s
        self._compact()

    def arrivals_until(self, now_s: float, window_s: float) -> int:
        """Count the earlier arrivals in the window that ends now."""
        return arrivals_within(self._times(), now_s, window_s)

    def record(self, arrival: Arrival, *, violation: bool, window_s: float) -> None:
        """Store one arrival; `violation`: it exceeded the limit."""
        kept = asdict(arrival) | {"message": arrival.message[:MESSAGE_CHARACTERS_KEPT]}
        self._set_window(window_s)
        self._write({"kind": "arrival", **kept, "violation": violation})
        near = [t for t in self._times() if t > arrival.t - window_s]
        self._worst = max(self._worst, worst_window(near, window_s))

    def worst(self, window_s: float) -> int:
        """Return the most arrivals in any window; of another length than before, those still kept count."""
        self._set_window(window_s)
        return self._worst

    def outage_end_s(self, message: str) -> float | None:
        """Return when the message's outage ends (at its first call if it has none); None before that."""
        return self._outage_ends_s.get(_key(message))

    def begin(self, message: str, outage_end_s: float) -> None:
        """Store when a message's outage ends, at its first call."""
        self._write({"kind": "fate", "key": _key(message), "outage_end_s": outage_end_s})

    def _write(self, event: Event) -> None:
        self._journal.append(event)
        self._apply(event)
        if self._journal.lines > LINES_BEFORE_COMPACTING:
            self._compact()

    def _apply(self, event: Event) -> None:
        match event:
            case {"kind": "arrival", "t": t, "message": message, "outcome": outcome, "violation": violation}:
                self.arrivals.append(Arrival(t, message, outcome))
                self.arrivals_total += 1
                self.violations += violation
            case {"kind": "fate", "key": key, "outage_end_s": end_s}:
                self._outage_ends_s[key] = end_s
                if len(self._outage_ends_s) > FATES_KEPT:
                    self._outage_ends_s.popitem(last=False)
            case {
                "kind": "summary",
                "arrivals_total": total,
                "violations": violations,
                "worst": worst,
                "window_s": of_s,
            }:
                self.arrivals_total, self.violations = total, violations
                self._worst, self._worst_of_s = worst, of_s

    def _set_window(self, window_s: float) -> None:
        """Start over from the kept arrivals: the worst of one window length says nothing about another."""
        if window_s != self._worst_of_s:
            self._worst = worst_window(self._times(), window_s)
            self._worst_of_s = window_s

    def _compact(self) -> None:
        """Write the kept arrivals first: the totals after them then include the others."""
        self._journal.rewrite(
            [
                *({"kind": "arrival", **asdict(arrival), "violation": False} for arrival in self.arrivals),
                *(
                    {"kind": "fate", "key": key, "outage_end_s": end_s}
                    for key, end_s in self._outage_ends_s.items()
                ),
                {
                    "kind": "summary",
                    "arrivals_total": self.arrivals_total,
                    "violations": self.violations,
                    "worst": self._worst,
                    "window_s": self._worst_of_s,
                },
            ]
        )

    def _times(self) -> list[float]:
        return sorted(arrival.t for arrival in self.arrivals)


def _key(message: str) -> str:
    return hashlib.sha256(message.encode()).hexdigest()
