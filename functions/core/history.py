"""How the service stood, minute by minute.

The processor's scheduled run writes one small item a minute. What is counted in it grows for ever, so what
happened between two items is their difference, and a minute that was missed costs no count.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from core.gate import Gate
from core.headline import Facts, headline

KEPT_MS = 14 * 86_400_000
BUCKETS_MAX = 96


@dataclass(frozen=True, slots=True)
class Minute:
    """One item.

    `signed`, `at_once`, `failed`, `other`: the tally's counts since the window was made: signatures, those
    whose caller was answered at once, calls that failed or met no answer, calls that were refused or limited.
    `used`, `calls`, `window_ms`: slots in use, of how many, for how long.
    `waiting`, `retrying`, `oldest_ms`: jobs, and when the oldest of their requests was accepted (0: none).
    `ended`, `given_up`: requests that ended since the item before, and webhooks that were given up.
    `p50_ms`, `p95_ms`: how long those that were signed took, from acceptance to their end; 0 for none.
    `state`, `since_ms`: the headline's, and since which item it has been the same.
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


@dataclass(frozen=True, slots=True)
class Ended:
    """A request that ended: when it was accepted, when it ended, and whether with a signature."""

    created_ms: int
    ended_ms: int
    signed: bool


def minute(
    before: Minute | None, facts: Facts, oldest_ms: int | None, ended: Sequence[Ended], given_up: int
) -> Minute:
    """Fold what was seen into one item. `ended`, `given_up`: since the item before."""
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
    )


def _counts(gate: Gate) -> tuple[int, int, int, int]:
    tally = gate.tally
    other = tally.refused + tally.limited + tally.key_refused
    return tally.signed, tally.at_once, tally.failed + tally.unanswered, other


def _quantile(ascending: Sequence[int], share: float) -> int:
    return ascending[ceil(share * len(ascending)) - 1] if ascending else 0


@dataclass(frozen=True, slots=True)
class Point:
    """A stretch of time, as a chart shows it: the calls are the average of a window in it, at most `limit`.

    `backlog`, `oldest_age_ms`, `p50_ms`, `p95_ms`: the highest in it.
    """

    at_ms: int
    limit: int
    signed: float
    failed: float
    other: float
    at_once: int
    ended: int
    given_up: int
    backlog: int
    oldest_age_ms: int
    p50_ms: int
    p95_ms: int


def points(minutes: Iterable[Minute], step_ms: int) -> list[Point]:
    """Return the stretches between items, one for each; then of every `step_ms` the one with most calls."""
    buckets: dict[int, list[Point]] = {}
    for before, after in pairwise(minutes):
        point = _point(before, after)
        buckets.setdefault(after.at_ms // step_ms, []).append(point)
    return [_busiest(stretch) for stretch in buckets.values()]


def _point(before: Minute, after: Minute) -> Point:
    windows = max(1.0, (after.at_ms - before.at_ms) / (after.window_ms or 1))
    counts = [_grown(before.signed, after.signed), _grown(before.failed, after.failed)]
    counts.append(_grown(before.other, after.other))
    # Between two items a little over a window apart nearly two windows' calls may lie.
    scale = min(1.0 / windows, after.calls / sum(counts) if sum(counts) else 1.0)
    signed, failed, other = (round(count * scale, 2) for count in counts)
    return Point(
        after.at_ms,
        after.calls,
        signed,
        failed,
        other,
        _grown(before.at_once, after.at_once),
        after.ended,
        after.given_up,
        after.waiting + after.retrying,
        after.at_ms - after.oldest_ms if after.oldest_ms else 0,
        after.p50_ms,
        after.p95_ms,
    )


def _grown(before: int, after: int) -> int:
    """Return how much a count grew; it began again from nothing where a window was made anew."""
    return after - before if after >= before else after


def _busiest(stretch: Sequence[Point]) -> Point:
    busiest = max(stretch, key=lambda point: point.signed + point.failed + point.other)
    return Point(
        stretch[-1].at_ms,
        busiest.limit,
        busiest.signed,
        busiest.failed,
        busiest.other,
        sum(point.at_once for point in stretch),
        sum(point.ended for point in stretch),
        sum(point.given_up for point in stretch),
        max(point.backlog for point in stretch),
        max(point.oldest_age_ms for point in stretch),
        max(point.p50_ms for point in stretch),
        max(point.p95_ms for point in stretch),
    )
