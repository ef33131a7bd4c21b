"""What an accepted request costs in DynamoDB operations: in virtual time, so the same on every machine."""

from benchmarks.operations import measure


def test_a_request_of_a_burst_takes_few_operations() -> None:
    """As many as the target allows."""
    found = measure(60)
    assert found.met(60), found.by_method.most_common()
