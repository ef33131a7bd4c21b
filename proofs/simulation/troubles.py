"""What else may happen to a service for a while, beside faults at every port. A seed draws some of these.

Each has a name, so that one can be tried alone: `python -m proofs.simulation --trouble "wrong clocks"`.
"""

from dataclasses import dataclass
from enum import StrEnum
from random import Random


class Trouble(StrEnum):
    """One kind of trouble."""

    KEY = "key refused"
    FORBIDDEN = "messages forbidden"
    LIMITED = "limited by others"
    FAR_RETRY = "far retry-after"
    CLOCKS = "wrong clocks"
    FAST_CLOCKS = "clocks far ahead"
    SLOW_CLOCKS = "clocks far behind"
    LIMITS = "limits change"
    PAUSE = "paused"
    REPLAY = "replays"
    PURGE = "backlog purged"
    VERSIONS = "mixed versions"
    SECRETS = "secrets outage"
    INDEX = "throttled index"
    CROWD = "crowd for one message"
    HOSTILE = "hostile callers"


SPELLS = {
    Trouble.KEY: "key",
    Trouble.LIMITED: "limit",
    Trouble.FAR_RETRY: "far_limit",
    Trouble.SECRETS: "secrets",
    Trouble.INDEX: "index",
}
"""What is down, for all instances, from one moment until another."""
OPERATOR = (Trouble.LIMITS, Trouble.PAUSE, Trouble.REPLAY, Trouble.PURGE)
HOUR_MS, DAY_MS, YEAR_MS = 3_600_000, 86_400_000, 365 * 86_400_000
SKEWS_MS = {
    Trouble.CLOCKS: (-60_000, -5_000, 5_000, 60_000),
    Trouble.FAST_CLOCKS: (HOUR_MS, DAY_MS, 10 * YEAR_MS),
    Trouble.SLOW_CLOCKS: (-HOUR_MS, -DAY_MS, -10 * YEAR_MS),
}
"""How far the clock of some hosts is off."""


@dataclass(frozen=True, slots=True)
class Act:
    """Something that an operator does at some moment."""

    at_ms: int
    trouble: Trouble
    lasts_ms: int


def drawn(rng: Random, asked_for: Trouble | None) -> frozenset[Trouble]:
    """Return up to two, or the one that is asked for."""
    if asked_for:
        return frozenset({asked_for})
    return frozenset(rng.sample(list(Trouble), rng.choice((0, 1, 1, 2))))


def acts(rng: Random, troubles: frozenset[Trouble], until_ms: int) -> tuple[Act, ...]:
    """Return what the operator does, in the order of time; all of it ends with the faults."""
    planned = []
    for trouble in OPERATOR:
        if trouble in troubles:
            for _ in range(rng.choice((1, 2, 3))):
                at_ms = rng.randrange(until_ms)
                planned.append(Act(at_ms, trouble, min(until_ms - at_ms, rng.randrange(1_000, 60_000))))
    return tuple(sorted(planned, key=lambda act: act.at_ms))
