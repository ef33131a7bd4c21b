"""What one caller does delays no other beyond the bounds: in virtual time, so the same on every machine."""

import pytest

from benchmarks.isolation import BY_NAME, measure, over_bound

QUICK = (
    "messages refused with 403",
    "messages that keep failing",
    "dead receivers",
    "slow receivers",
    "slow paths on the same host",
    "unreadable records",
)


@pytest.mark.parametrize("name", QUICK)
def test_another_caller_is_served_in_time(name: str) -> None:
    """Its first call, its webhook and its answer come within the bounds."""
    assert over_bound(measure(BY_NAME[name]), BY_NAME[name].bounds) == []
