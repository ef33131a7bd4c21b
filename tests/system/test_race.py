import pytest

from tests.system.race import embedded, judge, make_table, race


@pytest.mark.integration
def test_processes_that_race_for_the_window_keep_its_promise() -> None:
    """Each grant has one owner, and no window has a call too many, on a real database."""
    with embedded() as endpoint:
        make_table(endpoint, "race")
        result = judge(race(endpoint, "race", processes=4, takes=200))
    assert result.holds
    assert result.grants >= 190
