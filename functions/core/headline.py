"""The state of the service in one sentence: how long a new request waits, what is stuck, and why.

The console, `python -m infra.ops overview` and `GET /health` for operators show the same. The first state
that applies, in the order of `State`, is the headline. Times are integer milliseconds since the epoch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from core import scheduling
from core.gate import Gate
from core.words import explain, span

RUN_MISSED_MS = 180_000
FAILING_CALLS = 20
FAILING_WINDOWS = 10
"""If the last error is older than this number of windows, the upstream does not count as failing."""


class State(StrEnum):
    """The states, from most to least urgent."""

    NO_RUN = "no_run"
    PAUSED = "paused"
    KEY_REFUSED = "key_refused"
    UPSTREAM_LIMITS = "upstream_limits"
    UPSTREAM_FAILING = "upstream_failing"
    WEBHOOKS_FAILING = "webhooks_failing"
    DEAD_LETTERS = "dead_letters"
    AT_LIMIT = "at_limit"
    HEALTHY = "healthy"


class Severity(StrEnum):
    """How urgent a state is: calls are stopped, something fails, requests wait, or all is well."""

    STOPPED = "stopped"
    FAILING = "failing"
    BUSY = "busy"
    GOOD = "good"


SEVERITY = {
    State.NO_RUN: Severity.STOPPED,
    State.PAUSED: Severity.STOPPED,
    State.KEY_REFUSED: Severity.STOPPED,
    State.UPSTREAM_LIMITS: Severity.STOPPED,
    State.UPSTREAM_FAILING: Severity.FAILING,
    State.WEBHOOKS_FAILING: Severity.FAILING,
    State.DEAD_LETTERS: Severity.FAILING,
    State.AT_LIMIT: Severity.BUSY,
    State.HEALTHY: Severity.GOOD,
}


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts that the headline is made from.

    `waiting`, `retrying`: numbers of jobs; `uncounted`: there are more than were counted.
    `ran_at_ms`: when the processor's scheduled run wrote its last history item; None if not known.
    `noted_state`, `noted_since_ms`: the state in that item, and since when it is the same.
    `webhooks_failing`: webhooks that were tried more than once; `webhooks_given_up`: in the last hour;
    `webhook_error`: the error code of one of them. `dead_letters`: messages that could not be read.
    """

    now_ms: int
    gate: Gate
    waiting: int = 0
    retrying: int = 0
    uncounted: bool = False
    ran_at_ms: int | None = None
    noted_state: str = ""
    noted_since_ms: int | None = None
    webhooks_failing: int = 0
    webhooks_given_up: int = 0
    webhook_error: str = ""
    dead_letters: int = 0

    @property
    def new_request_waits_ms(self) -> int | None:
        """How long a new request waits until its first call has ended; None while calls are stopped."""
        if self.gate.paused or self.gate.key.suspected:
            return None
        return max(0, scheduling.ready_at_ms(self.gate, self.now_ms, self.waiting) - self.now_ms)

    @property
    def used(self) -> int:
        """How many slots are in use."""
        window = self.gate.window
        return len(window.slots) - window.free_slots(self.now_ms)


@dataclass(frozen=True, slots=True)
class Headline:
    """The result. `since_ms`: None if not known. `todo`: what an operator should do; empty for nothing."""

    state: State
    title: str
    why: str
    todo: str = ""
    since_ms: int | None = None

    @property
    def severity(self) -> Severity:
        """How urgent it is."""
        return SEVERITY[self.state]


def headline(facts: Facts) -> Headline:
    """Return the first state that applies."""
    found = next(found for judge in JUDGES if (found := judge(facts)))
    if found.since_ms is None and facts.noted_state == found.state:
        return Headline(found.state, found.title, found.why, found.todo, facts.noted_since_ms)
    return found


def _no_run(facts: Facts) -> Headline | None:
    if facts.ran_at_ms is None or facts.now_ms - facts.ran_at_ms < RUN_MISSED_MS:
        return None
    return Headline(
        State.NO_RUN,
        f"No run for {span(facts.now_ms - facts.ran_at_ms)}",
        f"The processor should run each minute. {_queue(facts)}",
        "Check the processor function: its schedule, its errors, its log.",
        facts.ran_at_ms,
    )


def _paused(facts: Facts) -> Headline | None:
    pause = facts.gate.pause
    if not pause.paused:
        return None
    return Headline(
        State.PAUSED,
        f"Calls are paused by {pause.paused_by or 'an operator'}",
        f"Requests with a webhook are accepted and wait. {_queue(facts)}",
        "Ask the operator who paused calls, then continue: `resume`.",
        pause.paused_at_ms or None,
    )


def _key_refused(facts: Facts) -> Headline | None:
    if not facts.gate.key.suspected:
        return None
    probe_in_ms = max(0, facts.gate.key.probe_at_ms - facts.now_ms)
    return Headline(
        State.KEY_REFUSED,
        "The upstream refuses the service's key",
        f"{_last_error(facts)}Only a call that tests the key is made, the next in {span(probe_in_ms)}. "
        f"{_queue(facts)}",
        "Set a valid key: `upstream-key set` reads it from standard input.",
        facts.gate.key.suspect_since_ms or None,
    )


def _upstream_limits(facts: Facts) -> Headline | None:
    window = facts.gate.window
    left_ms = window.blocked_until_ms - facts.now_ms
    if left_ms <= 0:
        return None
    test_in_ms = max(0, window.open_at_ms - facts.now_ms)
    return Headline(
        State.UPSTREAM_LIMITS,
        f"The upstream answered 429: no calls for {span(left_ms)}",
        "Another client uses the same key, or the upstream lowered its limit. "
        f"One call tests this each {span(window.limits.window_ms)}, the next in {span(test_in_ms)}. "
        f"{_queue(facts)}",
        "If the limit has changed: `limit set N W`. When the cause is gone: `unblock`.",
        window.blocked_from_ms or None,
    )


def _upstream_failing(facts: Facts) -> Headline | None:
    tally, window_ms = facts.gate.tally, facts.gate.window.limits.window_ms
    recent = facts.now_ms - tally.error_at_ms < FAILING_WINDOWS * window_ms
    if tally.failing_calls < FAILING_CALLS or not recent:
        return None
    return Headline(
        State.UPSTREAM_FAILING,
        f"The upstream fails: none of the last {tally.failing_calls} calls was signed",
        f"{_last_error(facts)}Nothing is lost: each request is tried again. {_queue(facts)}",
        "Ask the upstream's owner. To stop calls: `pause`. When the upstream works again: `retry-now --all`.",
        tally.failing_since_ms or None,
    )


def _webhooks_failing(facts: Facts) -> Headline | None:
    failing, given_up = facts.webhooks_failing, facts.webhooks_given_up
    if not failing and not given_up:
        return None
    counts = [f"{failing} failing"] if failing else []
    counts += [f"{given_up} given up in the last hour"] if given_up else []
    return Headline(
        State.WEBHOOKS_FAILING,
        f"Webhooks fail: {', '.join(counts)}",
        f"The last result at a receiver: {explain(facts.webhook_error)}. Signing continues. {_queue(facts)}",
        "Ask the receivers' teams. To send webhooks again that were given up: `replay`.",
    )


def _dead_letters(facts: Facts) -> Headline | None:
    if not facts.dead_letters:
        return None
    return Headline(
        State.DEAD_LETTERS,
        f"Dead letters: {facts.dead_letters}",
        "No function could handle these messages. No request is lost: the due index finds each one.",
        "Read them, then delete them: `dead-letters list`, `dead-letters delete`.",
    )


def _at_limit(facts: Facts) -> Headline | None:
    window = facts.gate.window
    if not facts.waiting and window.free_slots(facts.now_ms):
        return None
    return Headline(
        State.AT_LIMIT,
        f"At the limit: a new request waits {_wait(facts)}",
        f"{_limit(facts)} {_queue(facts)}",
    )


def _healthy(facts: Facts) -> Headline:
    return Headline(
        State.HEALTHY, "Healthy: a new request is tried at once", f"{_limit(facts)} {_queue(facts)}"
    )


JUDGES: tuple[Callable[[Facts], Headline | None], ...] = (
    _no_run,
    _paused,
    _key_refused,
    _upstream_limits,
    _upstream_failing,
    _webhooks_failing,
    _dead_letters,
    _at_limit,
    _healthy,
)


def _wait(facts: Facts) -> str:
    waits_ms = facts.new_request_waits_ms
    if waits_ms is None:
        return "for an unknown time"
    return f"{'more than' if facts.uncounted else 'about'} {span(waits_ms)}"


def _limit(facts: Facts) -> str:
    limits = facts.gate.window.limits
    return f"{facts.used} of {limits.calls} slots are in use; a slot is one call in {span(limits.window_ms)}."


def _queue(facts: Facts) -> str:
    """Return a sentence with the numbers of waiting and retrying jobs."""
    more = "+" if facts.uncounted else ""
    parts = [f"{facts.waiting}{more} wait for a first call"] if facts.waiting else []
    parts += [f"{facts.retrying}{more} are retried"] if facts.retrying else []
    return f"{' and '.join(parts)}." if parts else "Nothing waits."


def _last_error(facts: Facts) -> str:
    tally = facts.gate.tally
    if not tally.error:
        return ""
    return f"Last error: {explain(tally.error)}, {span(facts.now_ms - tally.error_at_ms)} ago. "
