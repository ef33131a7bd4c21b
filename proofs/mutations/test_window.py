from proofs.mutations.tool import run_all
from proofs.mutations.window import MUTATIONS


def test_every_fault_in_the_window_is_caught() -> None:
    """Each fault makes a fast test fail: a test that no fault can fail proves nothing."""
    assert [name for name, test in run_all(MUTATIONS).items() if not test] == []
