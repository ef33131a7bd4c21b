"""The simulation is worth something: it notices every one of these faults."""

from proofs.mutations.jobs import MUTATIONS
from proofs.mutations.simulated import run_all

SEEDS = 20


def test_every_fault_in_the_job_protocol_is_caught() -> None:
    """Each fault makes one of the first twenty seeds fail, by a rule that names what went wrong."""
    missed = [name for name, violation in run_all(MUTATIONS, SEEDS).items() if not violation]
    assert not missed
