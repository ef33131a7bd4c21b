"""Three ways to spend the same allowance, each given an exact sliding window without any overhead."""

from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from benchmarks.loads import CALL_S, CALLS_MAX, WINDOW_S, Message
from benchmarks.trace import Trace

RETRY_S = 30.0
BACKOFF_MAX_S = 180.0
POLL_S = 10.0


@dataclass(order=True, slots=True)
class _Due:
    """A message that may be called from `due_s` on."""

    due_s: float
    message: int
    failures: int = 0


@dataclass(slots=True)
class _Run:
    """One run: the calls made so far, and when the next one is allowed."""

    trace: Trace
    retry_at_s: Callable[[int, int, float], float]
    waiting: list[_Due] = field(default_factory=list)

    @property
    def allowed_s(self) -> float:
        """When the next call is allowed."""
        calls = self.trace.calls
        return calls[-CALLS_MAX].at_s + WINDOW_S if len(calls) >= CALLS_MAX else 0.0

    def call(self, due: _Due, at_s: float) -> None:
        """Make a call; a failed one waits for its retry."""
        if self.trace.call(due.message, due.due_s, at_s):
            self.trace.at_once += at_s == self.trace.messages[due.message].arrives_s
            return
        retry_s = self.retry_at_s(due.message, due.failures, at_s)
        insort(self.waiting, _Due(retry_s, due.message, due.failures + 1))


def _serve(run: _Run, choose: Callable[[Sequence[_Due]], _Due]) -> Trace:
    """Call whenever it is allowed and anything is due."""
    run.waiting = [_Due(message.arrives_s, index) for index, message in enumerate(run.trace.messages)]
    while run.waiting:
        at_s = max(run.allowed_s, run.waiting[0].due_s)
        chosen = choose([due for due in run.waiting if due.due_s <= at_s])
        run.waiting.remove(chosen)
        run.call(chosen, at_s)
    return run.trace


def bound(messages: Sequence[Message], _random: Random) -> Trace:
    """Fresh ones first come, first served; each retry exactly when its outage ends. It knows the future."""
    trace = Trace(messages)

    def outage_ends_s(message: int, _failures: int, at_s: float) -> float:
        first_s = trace.first_s(message)
        since_s = 0.0 if first_s is None else at_s - first_s
        return at_s - since_s + messages[message].outage_ends_s(since_s)

    return _serve(
        _Run(trace, outage_ends_s), lambda due: min(due, key=lambda one: (one.failures > 0, one.due_s))
    )


def random_order(messages: Sequence[Message], random: Random) -> Trace:
    """One queue; whoever is due may be next. A retry comes 30 s after the failure."""
    return _serve(
        _Run(Trace(messages), lambda _message, _failures, at_s: at_s + CALL_S + RETRY_S), random.choice
    )


def fifo(messages: Sequence[Message], random: Random) -> Trace:
    """One queue in order, retries after 30, 60, 120, then 180 s; API and poller compete for calls.

    The poller makes one call at a time and sleeps 10 s when none is allowed.
    """
    run = _Run(
        Trace(messages),
        lambda _message, failures, at_s: at_s + CALL_S + min(BACKOFF_MAX_S, RETRY_S * 2**failures),
    )
    arrivals = [_Due(message.arrives_s, index) for index, message in enumerate(messages)]
    poll_s = random.uniform(0, POLL_S)
    while arrivals or run.waiting:
        if arrivals and arrivals[0].due_s <= poll_s:
            arriving = arrivals.pop(0)
            if run.allowed_s <= arriving.due_s:
                run.call(arriving, arriving.due_s)
            else:
                insort(run.waiting, arriving)
        elif run.waiting and run.waiting[0].due_s <= poll_s:
            poll_s = _poll(run, poll_s)
        else:
            poll_s = min(one.due_s for one in arrivals[:1] + run.waiting[:1])
    return run.trace


def _poll(run: _Run, at_s: float) -> float:
    """Make one call if it is allowed; return when the poller looks again."""
    if run.allowed_s > at_s:
        return at_s + POLL_S
    run.call(run.waiting.pop(0), at_s)
    return at_s + CALL_S
