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
    FAR_CLOCKS = "clocks a day ahead"
    LIMITS = "limits change"
    PAUSE = "paused"
    REPLAY = "replays"
    PURGE = "backlog purged"
    VERSIONS = "mixed versions"
    SECRETS = "secrets outage"
    INDEX = "throttled index"
    CROWD = "crowd for one message"
    HOSTILE = "hostile callers"


PENDING = frozenset({Trouble.FAR_CLOCKS})
"""What the present code does not survive: drawn only when it is asked for."""

SPELLS = {
    Trouble.KEY: "key",
    Trouble.LIMITED: "limit",
    Trouble.FAR_RETRY: "far_limit",
    Trouble.SECRETS: "secrets",
    Trouble.INDEX: "index",
}
"""What is down, for all instances, from one moment until another."""
OPERATOR = (Trouble.LIMITS, Trouble.PAUSE, Trouble.REPLAY, Trouble.PURGE)
SKEWS_MS = (-60_000, -5_000, 5_000, 60_000)
FAR_SKEWS_MS = (86_400_000, 3_600_000)


@dataclass(frozen=True, slots=True)
class Act:
    """Something that an operator does at some moment."""

    at_ms: int
    trouble: Trouble
    lasts_ms: int


def drawn(rng: Random, asked_for: Trouble | None) -> frozenset[Trouble]:
    """Return up to two of those that are survived, or the one that is asked for."""
    if asked_for:
        return frozenset({asked_for})
    known = [trouble for trouble in Trouble if trouble not in PENDING]
    return frozenset(rng.sample(known, rng.choice((0, 1, 1, 2))))


def acts(rng: Random, troubles: frozenset[Trouble], until_ms: int) -> tuple[Act, ...]:
    """Return what the operator does, in the order of time; all of it ends with the faults."""
    planned = []
    for trouble in OPERATOR:
        if trouble in troubles:
            for _ in range(rng.choice((1, 2, 3))):
                at_ms = rng.randrange(until_ms)
                planned.append(Act(at_ms, trouble, min(until_ms - at_ms, rng.randrange(1_000, 60_000))))
    return tuple(sorted(planned, key=lambda act: act.at_ms))
