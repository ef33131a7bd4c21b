"""The tests and the simulation are worth something: they notice every one of these faults."""

import pytest

from proofs.mutations.__main__ import LISTS
from proofs.mutations.catching import caught_all
from proofs.mutations.fault import Fault


@pytest.mark.parametrize("faults", LISTS.values(), ids=LISTS)
@pytest.mark.timeout(900)
def test_every_fault_is_caught(faults: tuple[Fault, ...]) -> None:
    """Each fault makes a fast test fail, or one of the first seeds by a rule that names what went wrong."""
    assert [name for name, by in caught_all(faults).items() if not by] == []
