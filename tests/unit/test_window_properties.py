"""Random interleavings of several workers with every fault: never more than N arrivals in any W."""

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from core import window as windows
from core.gate import Gate
from core.window import Change, Grant, Kind, Limits, Permit, Timing, Window
from ports import Written
from proofs.simulation.at_once import at_once
from tests.fakes.memory import MemoryWindow, MemoryWindowStore

START_MS = 1_000_000
TIMING = Timing(grace_ms=400, margin_ms=100, send_limit_ms=200)
CALL_LIMIT_MS = 500
CALLS = st.integers(1, 3)
WINDOW_MS = st.sampled_from([1_000, 1_500, 2_500])
LEASE_MS = TIMING.lease_ms(CALL_LIMIT_MS, 1_000)
HOSTS = st.integers(0, 2)


@dataclass
class Call:
    """One permit's life, in true time."""

    permit: Permit
    taken_ms: int
    first_byte_ms: int | None = None


class WindowMachine(RuleBasedStateMachine):
    """Three hosts, each with a clock off by up to the margin and a view of the window that may be old."""

    held = Bundle("held")
    answered = Bundle("answered")

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = START_MS
        self.skew_ms = [0, 0, 0]
        self.item = MemoryWindow(Gate(windows.empty(Limits(2, 1_000))))
        self.store = MemoryWindowStore(self.item, lambda: Gate(windows.empty(Limits(2, 1_000))))
        self.views = [self.window] * 3
        self.permits = 0
        self.raised_ms = 0  # by how much W was raised, in all
        self.arrivals: list[tuple[int, int]] = []  # when, and under which limits its slot was taken

    @property
    def window(self) -> Window:
        return at_once(self.store.read()).window

    def apply(self, host: int, change: Change) -> bool:
        result = at_once(self.store.apply(change))
        self.views[host] = result.record.window if result.record else self.window
        return isinstance(result, Written)

    def clock_ms(self, host: int) -> int:
        return self.now_ms + self.skew_ms[host]

    @rule(elapsed_ms=st.one_of(st.integers(1, 300), st.integers(300, 5_000)))
    def wait(self, elapsed_ms: int) -> None:
        self.now_ms += elapsed_ms

    @rule(host=HOSTS)
    def wait_for_a_slot(self, host: int) -> None:
        first_ms = min(slot.free_at_ms for slot in self.window.slots)
        self.now_ms = max(self.now_ms, first_ms - self.skew_ms[host])

    @rule(host=HOSTS, skew_ms=st.integers(0, TIMING.margin_ms))
    def drift(self, host: int, skew_ms: int) -> None:
        self.skew_ms[host] = skew_ms

    @rule(host=HOSTS)
    def look(self, host: int) -> None:
        self.views[host] = self.window

    @rule(
        target=held,
        host=HOSTS,
        kind=st.sampled_from([Kind.FRESH, Kind.RETRY]),
        spread=st.sampled_from([0.0, 0.5, 0.99]),
    )
    def take(self, host: int, kind: Kind, spread: float) -> Call | None:
        self.permits += 1
        decision = windows.take(
            self.views[host],
            self.clock_ms(host),
            permit_id=str(self.permits),
            kind=kind,
            timing=TIMING,
            call_limit_ms=CALL_LIMIT_MS,
            spread=spread,
        )
        if isinstance(decision, Grant) and self.apply(host, decision.change):
            return Call(decision.permit, self.now_ms)
        return None

    @rule(
        target=answered,
        host=HOSTS,
        call=consumes(held),
        transit_ms=st.integers(0, CALL_LIMIT_MS + TIMING.grace_ms),
        answer_ms=st.integers(0, CALL_LIMIT_MS),
    )
    def send(self, host: int, call: Call | None, transit_ms: int, answer_ms: int) -> Call | None:
        """Send in time, by wall and monotonic time; after the time-out there is no answer any more."""
        if (
            call is None
            or self.clock_ms(host) > call.permit.send_by_ms
            or self.now_ms > call.taken_ms + TIMING.send_limit_ms
        ):
            return None
        arrival_ms = self.now_ms + transit_ms
        self.arrivals.append((arrival_ms, call.permit.limits.version))
        if transit_ms + answer_ms > CALL_LIMIT_MS:
            return None
        call.first_byte_ms = arrival_ms + answer_ms
        return call

    @rule(host=HOSTS, call=answered)
    def settle(self, host: int, call: Call | None) -> None:
        """At any time after the answer, or never, or again, on a view that may be old."""
        if call is None or call.first_byte_ms is None or self.now_ms < call.first_byte_ms:
            return
        at_ms = call.permit.taken_at_ms + call.first_byte_ms - call.taken_ms
        change = windows.settle(self.views[host], call.permit, at_ms, TIMING)
        if change:
            self.apply(host, change)

    @rule(host=HOSTS, call=consumes(held))
    def give_back(self, host: int, call: Call | None) -> None:
        change = call and windows.give_back(self.views[host], call.permit)
        if change:
            self.apply(host, change)

    @rule(host=HOSTS, calls=CALLS, window_ms=WINDOW_MS)
    def change_limits(self, host: int, calls: int, window_ms: int) -> None:
        longer_ms = window_ms - self.window.limits.window_ms
        change = windows.change_limits(self.views[host], calls, window_ms, deployed=False)
        if change and self.apply(host, change):
            self.raised_ms += max(0, longer_ms)

    @invariant()
    def never_more_than_n_arrivals_in_any_window(self) -> None:
        """Judged for every window with a call in it that was taken under the limits in force."""
        limits = self.window.limits
        for end_ms, _ in self.arrivals:
            inside = [
                version for at_ms, version in self.arrivals if end_ms - limits.window_ms < at_ms <= end_ms
            ]
            if limits.version in inside:
                assert len(inside) <= limits.calls

    @invariant()
    def no_slot_is_lost_for_longer_than_a_lease(self) -> None:
        """Whatever was lost or stuck, every slot is free again by then; a longer W adds the difference."""
        latest_ms = max(slot.free_at_ms for slot in self.window.slots)
        assert latest_ms <= self.now_ms + TIMING.margin_ms + LEASE_MS + self.raised_ms


WindowMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
TestWindow = WindowMachine.TestCase
