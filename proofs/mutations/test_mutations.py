"""The tests and the simulation are worth something: they notice every one of these faults."""

import pytest

from proofs.mutations.__main__ import LISTS
from proofs.mutations.catching import caught
from proofs.mutations.fault import Fault

FAULTS = [fault for faults in LISTS.values() for fault in faults]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.timeout(900)
def test_every_fault_is_caught(fault: Fault) -> None:
    """Each fault makes a fast test fail, or one of the first seeds by a rule that names what went wrong."""
    assert caught(fault)
