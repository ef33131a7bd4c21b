"""`python -m proofs.simulation.limiters` shows what other limiters, set to 10 per minute, let arrive in one.

Each is the usual algorithm, asked for a call at every moment after the demand begins; the network then takes
from 0 to 0.3 s. Worst of many runs, for any true window of 60 s at the upstream.
"""

import random
from collections.abc import Callable

import infra  # noqa: F401 - puts the functions on the path
from infra.local.upstream_model import worst_window

CALLS, WINDOW_S = 10, 60.0
INTERVAL_S = WINDOW_S / CALLS
HORIZON_S = 300.0
JITTER_S = 0.3
RUNS = 1_000

Limiter = Callable[[float], list[float]]


def fixed_window(start_s: float) -> list[float]:
    """Ten in each calendar minute."""
    sends, minute = list[float](), -1
    now_s = start_s
    while now_s < HORIZON_S:
        minute = int(now_s // WINDOW_S)
        sends += [now_s] * CALLS
        now_s = (minute + 1) * WINDOW_S
    return sends


def token_bucket(start_s: float) -> list[float]:
    """A bucket of ten tokens, one more every six seconds; full when the demand begins."""
    sends, tokens = list[float](), float(CALLS)
    now_s = start_s
    while now_s < HORIZON_S:
        if tokens >= 1:
            tokens -= 1
            sends.append(now_s)
        else:
            now_s += INTERVAL_S * (1 - tokens)
            tokens = 1.0
    return sends


def gcra(start_s: float) -> list[float]:
    """A theoretical arrival time that runs ahead of now by at most nine intervals."""
    sends, theoretical_s = list[float](), start_s
    now_s = start_s
    while now_s < HORIZON_S:
        now_s = max(now_s, theoretical_s - (CALLS - 1) * INTERVAL_S)
        sends.append(now_s)
        theoretical_s = max(now_s, theoretical_s) + INTERVAL_S
    return sends


def evenly_paced(start_s: float) -> list[float]:
    """One every six seconds, no burst."""
    return [start_s + INTERVAL_S * number for number in range(int((HORIZON_S - start_s) // INTERVAL_S))]


def sliding_log(start_s: float) -> list[float]:
    """The times of the last ten sends: exact where it is asked, not where the calls arrive."""
    sends = list[float]()
    now_s = start_s
    while now_s < HORIZON_S:
        if len(sends) >= CALLS:
            now_s = max(now_s, sends[-CALLS] + WINDOW_S)
        sends.append(now_s)
    return sends


LIMITERS: dict[str, Limiter] = {
    "fixed window": fixed_window,
    "token bucket": token_bucket,
    "GCRA": gcra,
    "evenly paced": evenly_paced,
    "sliding log of sends": sliding_log,
}


def worst(limiter: Limiter) -> int:
    """Return the most calls that arrived in any window, in any run."""
    dice = random.Random(1)
    most = 0
    for _ in range(RUNS):
        sends_s = limiter(dice.uniform(0, WINDOW_S))
        arrivals_s = sorted(sent_s + dice.uniform(0, JITTER_S) for sent_s in sends_s)
        most = max(most, worst_window(arrivals_s, WINDOW_S))
    return most


if __name__ == "__main__":
    for name, limiter in LIMITERS.items():
        print(f"{name:22} {worst(limiter):3} of {CALLS}")  # noqa: T201
