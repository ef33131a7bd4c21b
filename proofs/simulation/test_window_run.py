from statistics import fmean

from proofs.simulation.window_run import run_seed


def test_a_hundred_hours_with_every_fault() -> None:
    """Never one call too many; at 0.3 s latency at least 98 % of the allowance is used."""
    outcomes = [run_seed(seed, hours=10, latency_ms=300) for seed in range(10)]
    assert sum(outcome.violations for outcome in outcomes) == 0
    assert max(outcome.worst for outcome in outcomes) == 10
    assert fmean(outcome.share for outcome in outcomes) >= 0.98
