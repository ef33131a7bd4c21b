import pytest

from proofs.model.search import search
from proofs.model.world import Guard


def test_the_window_is_exact_in_every_reachable_state() -> None:
    """With all seven guards no order of events lets one call too many arrive."""
    found = search()
    assert found.counter_example is None
    assert found.states > 10_000


@pytest.mark.parametrize("guard", Guard)
def test_every_guard_is_needed(guard: Guard) -> None:
    """Without it there is an order of events that ends in one call too many."""
    assert search(without=guard).counter_example is not None
