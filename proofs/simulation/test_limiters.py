import pytest

from proofs.simulation.limiters import LIMITERS, worst

CALLS_LET_THROUGH = {
    "fixed window": 20,
    "token bucket": 20,
    "GCRA": 20,
    "evenly paced": 11,
    "sliding log of sends": 19,
}


@pytest.mark.parametrize("name", LIMITERS)
def test_what_other_limiters_let_arrive(name: str) -> None:
    """Why there is a window of our own: `docs/window.md` quotes these."""
    assert worst(LIMITERS[name]) == CALLS_LET_THROUGH[name]
