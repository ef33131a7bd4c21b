"""The headline: each state, in words, and which of several is told."""

from dataclasses import replace
from typing import Any

import pytest

from core import window as windows
from core.gate import Gate
from core.headline import FAILING_CALLS, RUN_MISSED_MS, Facts, Severity, State, headline
from core.window import Limits
from core.words import explain, span

NOW_MS = 1_800_000_000_000
QUIET = Gate(windows.empty(Limits(10, 60_000)))
BUSY = Gate(windows.full(Limits(10, 60_000), NOW_MS + 30_000))
PAUSED = QUIET.having(paused=True, paused_by="olga", paused_at_ms=NOW_MS - 120_000)
REFUSED = QUIET.having(
    suspect_since_ms=1, probe_at_ms=NOW_MS + 40_000, error="http_401", error_at_ms=NOW_MS - 20_000
)
FAILING = QUIET.having(
    failing_calls=FAILING_CALLS,
    failing_since_ms=NOW_MS - 300_000,
    error="http_502",
    error_at_ms=NOW_MS - 9_000,
)
BLOCKED = QUIET.having(blocked_until_ms=NOW_MS + 45_000)

CASES: dict[str, tuple[Facts, State, str, str]] = {
    "healthy": (Facts(NOW_MS, QUIET), State.HEALTHY, "Healthy: a new request is tried at once", "0 of 10"),
    "no slot is free": (
        Facts(NOW_MS, BUSY),
        State.AT_LIMIT,
        "At the limit: a new request waits about 30 s",
        "10 of 10 slots are in use; a slot is one call in 60 s. Nothing waits.",
    ),
    "others wait": (
        Facts(NOW_MS, BUSY, waiting=20, retrying=3),
        State.AT_LIMIT,
        "At the limit: a new request waits about 3 min",
        "20 wait for a first call and 3 are retried.",
    ),
    "more wait than were counted": (
        Facts(NOW_MS, BUSY, waiting=200, uncounted=True),
        State.AT_LIMIT,
        "At the limit: a new request waits more than 21 min",
        "200+ wait",
    ),
    "every call fails": (
        Facts(NOW_MS, FAILING, retrying=4),
        State.UPSTREAM_FAILING,
        "The upstream fails: none of the last 20 calls was signed",
        "Last error: HTTP 502, 9 s ago.",
    ),
    "the upstream answers 429": (
        Facts(NOW_MS, BLOCKED),
        State.UPSTREAM_LIMITS,
        "The upstream answered 429: no calls for 45 s",
        "Another client uses the same key",
    ),
    "the key is refused": (
        Facts(NOW_MS, REFUSED),
        State.KEY_REFUSED,
        "The upstream refuses the service's key",
        "HTTP 401, 20 s ago. Only a call that tests the key is made, the next in 40 s.",
    ),
    "paused": (Facts(NOW_MS, PAUSED), State.PAUSED, "Calls are paused by olga", "Nothing waits."),
    "webhooks fail": (
        Facts(NOW_MS, QUIET, webhooks_failing=2, webhooks_given_up=1, webhook_error="timeout"),
        State.WEBHOOKS_FAILING,
        "Webhooks fail: 2 failing, 1 given up in the last hour",
        "no answer in time",
    ),
    "dead letters": (
        Facts(NOW_MS, QUIET, dead_letters=3),
        State.DEAD_LETTERS,
        "Dead letters: 3",
        "No request is lost",
    ),
    "no run": (
        Facts(NOW_MS, QUIET, ran_at_ms=NOW_MS - 420_000),
        State.NO_RUN,
        "No run for 7 min",
        "The processor",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_state_is_told_in_words(case: tuple[Facts, State, str, str]) -> None:
    """What it is, and why."""
    facts, state, title, why = case
    told = headline(facts)
    assert (told.state, told.title) == (state, title)
    assert why in told.why


def test_what_needs_somebody_says_what_to_do() -> None:
    """And what needs nobody says nothing."""
    for facts, *_ in CASES.values():
        told = headline(facts)
        assert bool(told.todo) is (told.severity in {Severity.STOPPED, Severity.FAILING})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"gate": PAUSED.having(suspect_since_ms=1)}, State.PAUSED),
        ({"gate": REFUSED.having(blocked_until_ms=NOW_MS + 1)}, State.KEY_REFUSED),
        ({"gate": FAILING, "waiting": 9, "webhooks_failing": 1}, State.UPSTREAM_FAILING),
        ({"gate": PAUSED, "ran_at_ms": NOW_MS - RUN_MISSED_MS}, State.NO_RUN),
        ({"gate": QUIET, "ran_at_ms": NOW_MS - RUN_MISSED_MS + 1}, State.HEALTHY),
        ({"gate": FAILING.having(failing_calls=FAILING_CALLS - 1)}, State.HEALTHY),
        ({"gate": FAILING.having(error_at_ms=NOW_MS - 600_000)}, State.HEALTHY),
    ],
)
def test_what_stops_more_is_told_first(changes: dict[str, Any], expected: State) -> None:
    """Of several states, the one that keeps most calls from being made; thresholds are exact."""
    assert headline(replace(Facts(NOW_MS, QUIET), **changes)).state is expected


def test_since_when_is_told_where_it_is_known() -> None:
    """By the record itself, else by the notes of the scheduled runs, if they saw the same state."""
    noted = {"noted_state": "at_limit", "noted_since_ms": NOW_MS - 5_000}
    assert headline(Facts(NOW_MS, PAUSED, **noted)).since_ms == NOW_MS - 120_000  # type: ignore[arg-type]
    assert headline(Facts(NOW_MS, BUSY, **noted)).since_ms == NOW_MS - 5_000  # type: ignore[arg-type]
    assert headline(Facts(NOW_MS, QUIET, **noted)).since_ms is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("http_503", "HTTP 503"),
        ("upstream_refused_403", "the upstream refuses the message with HTTP 403"),
        ("egress_deny_private", "the webhook URL must not name a private address"),
        ("egress_of_another_version", "the webhook URL of another version"),
        ("circuit_open", "the receiver fails, and is left alone for a while"),
        ("attempts_exhausted", "given up after the most calls that are allowed"),
        ("something_new", "something new"),
    ],
)
def test_codes_in_words(code: str, words: str) -> None:
    """People are told no codes."""
    assert explain(code) == words


@pytest.mark.parametrize(
    ("ms", "words"),
    [(-5, "0 s"), (99_000, "99 s"), (100_000, "2 min"), (6_000_000, "2 h"), (172_800_000, "2 days")],
)
def test_spans_in_words(ms: int, words: str) -> None:
    """In the largest unit that still says enough."""
    assert span(ms) == words
