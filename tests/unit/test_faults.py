"""The mutations name what they break, and a rename is noticed at once, not by the next `make mutations`."""

import pytest

from proofs.mutations.broken import FAULTS
from proofs.mutations.fault import Fault


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_finds_what_it_breaks(fault: Fault) -> None:
    """Each name stands for one function. If it has another name now, give it to the fault too."""
    assert fault.missing() == []
