"""What one caller does delays no other beyond the bounds: in virtual time, so the same on every machine."""

import pytest

from benchmarks.isolation import BY_NAME, measure, over_bound


@pytest.mark.parametrize("name", ["dead receivers", "slow receivers", "slow paths on the same host"])
def test_another_caller_is_served_in_time(name: str) -> None:
    """Its first call, its webhook and its answer come within the bounds."""
    assert over_bound(measure(BY_NAME[name])) == []
