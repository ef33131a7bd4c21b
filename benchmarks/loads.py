"""What is asked of the service, and how the upstream fails: seeded, the same for everyone compared.

A message is healthy with probability one half; else an outage of its own begins at its first call.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

WINDOW_S = 60.0
CALLS_MAX = 10
CALL_S = 0.5
HEALTHY_SHARE = 0.5
ROUNDING_S = 1e-6

Spells = tuple[tuple[float, float], ...]
"""When a message is down, in seconds since its first call: from, until."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message: when it is asked for, and when it can't be signed."""

    arrives_s: float
    spells: Spells = ()

    def well(self, since_first_call_s: float) -> bool:
        """Whether a call that reaches the upstream so long after the first one is answered 200."""
        at_s = since_first_call_s + ROUNDING_S
        return not any(start_s <= at_s < end_s for start_s, end_s in self.spells)

    def outage_ends_s(self, since_first_call_s: float) -> float:
        """When the outage in force ends, in seconds since its first call."""
        at_s = since_first_call_s + ROUNDING_S
        return next(end_s for start_s, end_s in self.spells if start_s <= at_s < end_s)


@dataclass(frozen=True, slots=True)
class Load:
    """So many requests at random moments of so many seconds."""

    name: str
    requests: int
    within_s: float


LOADS = (
    Load("burst of 60", 60, 60),
    Load("1 per minute", 60, 3600),
    Load("2 per minute", 60, 1800),
    Load("4 per minute", 60, 900),
    Load("6 per minute", 120, 1200),
    Load("12 per minute", 240, 1200),
)


def _uniform(random: Random) -> Spells:
    return ((0.0, random.uniform(60, 300)),)


def _exponential(random: Random) -> Spells:
    return ((0.0, random.expovariate(1 / 150)),)


def _fixed(_random: Random) -> Spells:
    return ((0.0, 240.0),)


def _relapsing(random: Random) -> Spells:
    """After an outage a message is well for 10 to 60 s, then with probability one half down again."""
    spells = [(0.0, random.uniform(60, 300))]
    while random.random() < HEALTHY_SHARE:
        start_s = spells[-1][1] + random.uniform(10, 60)
        spells.append((start_s, start_s + random.uniform(60, 120)))
    return tuple(spells)


USUAL, RELAPSING = "uniform", "relapsing"
OUTAGES: Mapping[str, Callable[[Random], Spells]] = {
    USUAL: _uniform,
    "exponential": _exponential,
    "fixed": _fixed,
    RELAPSING: _relapsing,
}


def messages(load: Load, outages: str, seed: int) -> list[Message]:
    """Return a load's messages in the order of their arrival."""
    random = Random(f"{load.name} {outages} {seed}")
    arrivals_s = sorted(random.uniform(0, load.within_s) for _ in range(load.requests))
    return [
        Message(arrives_s, () if random.random() < HEALTHY_SHARE else OUTAGES[outages](random))
        for arrives_s in arrivals_s
    ]
