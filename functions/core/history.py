"""The history of the service: one item a minute, written by the processor's scheduled run.

The counts in an item only grow. What happened between two items is the difference of their counts, so a
missed minute loses nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from core import clocks
from core.gate import Gate
from core.headline import Facts, headline

KEPT_MS = 14 * 86_400_000
BUCKETS_MAX = 96


@dataclass(frozen=True, slots=True)
class Minute:
    """One item.

    `accepted`, `signed`, `at_once`, `failed`, `other`: the tally's counts since the window was created:
    accepted requests, signatures, those that answered a caller at once, calls that failed or had no answer,
    calls that were refused or limited.
    `used`, `calls`, `window_ms`: slots in use, and the limit: N and W.
    `waiting`, `retrying`: numbers of jobs. `oldest_ms`: when their oldest request was accepted; 0 for none.
    `ended`, `given_up`: requests that ended, and webhooks that were given up, since the item before.
    `p50_ms`, `p95_ms`: how long signed requests took, from acceptance to their end; 0 for none.
    `state`, `since_ms`: the headline's state, and the time of the first item with it.
    """

    at_ms: int
    signed: int = 0
    at_once: int = 0
    failed: int = 0
    other: int = 0
    used: int = 0
    calls: int = 0
    window_ms: int = 0
    waiting: int = 0
    retrying: int = 0
    oldest_ms: int = 0
    ended: int = 0
    given_up: int = 0
    p50_ms: int = 0
    p95_ms: int = 0
    state: str = ""
    since_ms: int = 0
    accepted: int = 0


def believed(minutes: Iterable[Minute], now_ms: int) -> list[Minute]:
    """Leave out items of the future, which a wrong clock wrote: until then no other item would be written."""
    return [minute for minute in minutes if clocks.possible(minute.at_ms, now_ms, 0)]


@dataclass(frozen=True, slots=True)
class Ended:
    """A request that ended: when it was accepted, when it ended, and whether with a signature."""

    created_ms: int
    ended_ms: int
    signed: bool


def minute(
    before: Minute | None, facts: Facts, oldest_ms: int | None, ended: Sequence[Ended], given_up: int
) -> Minute:
    """Return one item. `ended`, `given_up`: since the item before."""
    gate, now_ms = facts.gate, facts.now_ms
    took_ms = sorted(row.ended_ms - row.created_ms for row in ended if row.signed)
    state = headline(facts).state
    same = before is not None and before.state == state
    return Minute(
        now_ms,
        *_counts(gate),
        used=facts.used,
        calls=gate.window.limits.calls,
        window_ms=gate.window.limits.window_ms,
        waiting=facts.waiting,
        retrying=facts.retrying,
        oldest_ms=oldest_ms or 0,
        ended=len(ended),
        given_up=given_up,
        p50_ms=_quantile(took_ms, 0.5),
        p95_ms=_quantile(took_ms, 0.95),
        state=state,
        since_ms=before.since_ms if before and same else now_ms,
        accepted=gate.tally.accepted,
    )


def _counts(gate: Gate) -> tuple[int, int, int, int]:
    tally = gate.tally
    other = tally.refused + tally.limited + tally.key_refused
    return tally.signed, tally.at_once, tally.failed + tally.unanswered, other


def _quantile(ascending: Sequence[int], share: float) -> int:
    return ascending[ceil(share * len(ascending)) - 1] if ascending else 0


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a chart, for a span of time. Calls are an average per window, at most `limit`.

    `backlog`, `oldest_age_ms`, `p50_ms`, `p95_ms`: the highest values in the span.
    """

    at_ms: int
    limit: int
    signed: float
    failed: float
    other: float
    accepted: int
    at_once: int
    ended: int
    given_up: int
    backlog: int
    oldest_age_ms: int
    p50_ms: int
    p95_ms: int


def points(minutes: Iterable[Minute], step_ms: int) -> list[Point]:
    """Return one point for every `step_ms`: its calls are those of the busiest span between two items."""
    buckets: dict[int, list[Point]] = {}
    for before, after in pairwise(minutes):
        point = _point(before, after)
        buckets.setdefault(after.at_ms // step_ms, []).append(point)
    return [_busiest(stretch) for stretch in buckets.values()]


def _point(before: Minute, after: Minute) -> Point:
    windows = max(1.0, (after.at_ms - before.at_ms) / (after.window_ms or 1))
    counts = [_increase(before.signed, after.signed), _increase(before.failed, after.failed)]
    counts.append(_increase(before.other, after.other))
    # Two items may be a little more than one window apart, with the calls of nearly two windows between them.
    scale = min(1.0 / windows, after.calls / sum(counts) if sum(counts) else 1.0)
    signed, failed, other = (round(count * scale, 2) for count in counts)
    return Point(
        after.at_ms,
        after.calls,
        signed,
        failed,
        other,
        _increase(before.accepted, after.accepted),
        _increase(before.at_once, after.at_once),
        after.ended,
        after.given_up,
        after.waiting + after.retrying,
        after.at_ms - after.oldest_ms if after.oldest_ms else 0,
        after.p50_ms,
        after.p95_ms,
    )


def _increase(before: int, after: int) -> int:
    """Return how much a count grew. If it is smaller than before, the window was created again from 0."""
    return after - before if after >= before else after


def _busiest(stretch: Sequence[Point]) -> Point:
    busiest = max(stretch, key=lambda point: point.signed + point.failed + point.other)
    return Point(
        stretch[-1].at_ms,
        busiest.limit,
        busiest.signed,
        busiest.failed,
        busiest.other,
        sum(point.accepted for point in stretch),
        sum(point.at_once for point in stretch),
        sum(point.ended for point in stretch),
        sum(point.given_up for point in stretch),
        max(point.backlog for point in stretch),
        max(point.oldest_age_ms for point in stretch),
        max(point.p50_ms for point in stretch),
        max(point.p95_ms for point in stretch),
    )
