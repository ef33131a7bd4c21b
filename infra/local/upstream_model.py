"""How the stand-in misbehaves: pure, reproducible functions of settings, seed, message and time."""

import hashlib
import math
import random
from bisect import bisect_right
from collections.abc import Sequence
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

EXAMPLES = {"hello": False, "world": True}
"""README's messages, and whether they have an outage: its commands show the same with every seed."""

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Behaviour:
    """The stand-in's behaviour, which a test may also change while it runs."""

    limit: Annotated[int, Field(ge=1, le=1_000)] = 10
    window_s: Annotated[float, Field(gt=0, le=86_400)] = 60
    verify_counts: bool = False  # signatures are checked by tests, never by the service: those calls are free
    seed: int = 1
    outage_share: Share = 0.5
    outage_min_s: Seconds = 60
    outage_max_s: Seconds = 300
    latency_ms: Annotated[float, Field(ge=0, le=86_400_000)] = 300  # the median
    latency_sigma: Annotated[float, Field(ge=0, le=3)] = 0.4
    slow_share: Share = 0.05
    slow_min_s: Seconds = 2
    slow_max_s: Seconds = 20
    hang_share: Share = 0.01
    hang_cap_s: Seconds = 300
    forced_status: Annotated[int, Field(ge=200, le=599)] | None = None
    forced_body: str | None = None
    forced_retry_after_s: Annotated[int, Field(ge=0)] | None = None
    forced_path: str | None = None  # None forces every limited path

    def __post_init__(self) -> None:
        """Refuse a range whose minimum is above its maximum."""
        if self.outage_min_s > self.outage_max_s:
            raise ValueError("outage_min_s is above outage_max_s")
        if self.slow_min_s > self.slow_max_s:
            raise ValueError("slow_min_s is above slow_max_s")


def arrivals_within(times_s: Sequence[float], now_s: float, window_s: float) -> int:
    """Count the arrivals in (now - window, now]; `times_s` ascends."""
    return bisect_right(times_s, now_s) - bisect_right(times_s, now_s - window_s)


def worst_window(times_s: Sequence[float], window_s: float) -> int:
    """Return the most arrivals that any half-open window of this length holds; `times_s` ascends."""
    return max((arrivals_within(times_s, now_s, window_s) for now_s in times_s), default=0)


def outage_s(behaviour: Behaviour, message: str) -> float:
    """Return how long this message fails from its first call on; 0 if it never fails."""
    if message in EXAMPLES and 0 < behaviour.outage_share < 1:
        return behaviour.outage_max_s if EXAMPLES[message] else 0.0
    chance = random.Random(f"{behaviour.seed}/outage/{_fingerprint(message)}")  # noqa: S311
    if chance.random() >= behaviour.outage_share:
        return 0.0
    return chance.uniform(behaviour.outage_min_s, behaviour.outage_max_s)


def answer_delay_s(behaviour: Behaviour, message: str, call_number: int) -> float | None:
    """Return how long this call takes: mostly near the median, rarely far longer; None if it hangs."""
    if message in EXAMPLES and behaviour.hang_share < 1 and behaviour.slow_share < 1:
        return behaviour.latency_ms / 1000
    chance = random.Random(f"{behaviour.seed}/delay/{call_number}/{_fingerprint(message)}")  # noqa: S311
    kind = chance.random()
    if kind < behaviour.hang_share:
        return None
    if kind < behaviour.hang_share + behaviour.slow_share:
        return chance.uniform(behaviour.slow_min_s, behaviour.slow_max_s)
    return behaviour.latency_ms / 1000 * math.exp(chance.gauss(0, behaviour.latency_sigma))


def _fingerprint(message: str) -> str:
    return hashlib.sha256(message.encode()).hexdigest()
