"""The benchmark's targets, on few seeds: in virtual time, so the same on every machine."""

import pytest

from benchmarks.chart import chart
from benchmarks.compare import FIFO, RELAY, Outcome, run_seed, summarize, targets
from benchmarks.loads import LOADS

BY_NAME = {load.name: load for load in LOADS}
SEEDS = 6


def measure(load: str, seeds: int = SEEDS) -> Outcome:
    return summarize(
        BY_NAME[load], "uniform", [run_seed(BY_NAME[load], "uniform", seed) for seed in range(seeds)]
    )


@pytest.mark.parametrize("load", ["burst of 60", "4 per minute"])
def test_targets_are_met(load: str) -> None:
    """Drain, answers at once, use of the allowance, writes, queue requests and ETA, as promised."""
    missed = [target for target in targets(measure(load)) if not target.met]
    assert missed == []


def test_overload_is_drained_near_the_bound() -> None:
    """Every second call for what is long due wastes few calls: done before FIFO is, with shorter waits."""
    outcome = measure("12 per minute", seeds=2)
    ours, fifo = outcome.policies[RELAY], outcome.policies[FIFO]
    assert ours.last_done_s < fifo.last_done_s
    assert ours.wait_mean_s < fifo.wait_mean_s
    assert ours.wait_p95_s < fifo.wait_p95_s


def test_a_seed_gives_the_same_run_again() -> None:
    """Nothing but the seed decides: figures can be compared between versions of the code."""
    load = BY_NAME["burst of 60"]
    assert run_seed(load, "uniform", 1) == run_seed(load, "uniform", 1)


def test_the_chart_is_drawn_from_any_choice_of_loads() -> None:
    """A picture of one load is a picture still."""
    assert chart([measure("burst of 60", seeds=1)]).count("<rect") == 4
