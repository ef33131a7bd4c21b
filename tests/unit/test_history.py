"""One item a minute, and what the charts make of them."""

from dataclasses import replace

from core import history, tally
from core import window as windows
from core.answers import Answer, Meaning
from core.gate import Gate
from core.headline import Facts
from core.history import Ended, Minute, points
from core.window import Limits

NOW_MS = 1_800_000_000_000
GATE = Gate(windows.empty(Limits(10, 60_000)))
FIRST = Minute(NOW_MS, calls=10, window_ms=60_000, state="healthy", since_ms=NOW_MS - 60_000)


def later(minutes: int, **values: int) -> Minute:
    return replace(FIRST, at_ms=NOW_MS + 60_000 * minutes, **values)  # type: ignore[arg-type]


def test_a_minute_is_folded_into_one_item() -> None:
    """Counts as they stand, what waits, how long signatures took, and since when the state is the same."""
    facts = Facts(
        NOW_MS + 60_000, GATE.having(accepted=9, signed=5, at_once=2, failed=3, unanswered=1, limited=1)
    )
    ended = [Ended(NOW_MS, NOW_MS + took_ms, signed=True) for took_ms in (9_000, 1_000, 2_000)]
    ended.append(Ended(NOW_MS, NOW_MS + 99_000, signed=False))
    item = history.minute(FIRST, replace(facts, retrying=4), NOW_MS - 7, ended, given_up=1)
    assert (item.accepted, item.signed, item.at_once, item.failed, item.other) == (9, 5, 2, 4, 1)
    assert (item.waiting, item.retrying, item.oldest_ms) == (0, 4, NOW_MS - 7)
    assert (item.ended, item.given_up, item.p50_ms, item.p95_ms) == (4, 1, 2_000, 9_000)
    assert (item.state, item.since_ms) == ("healthy", NOW_MS - 60_000)


def test_another_state_begins_now() -> None:
    """Also where nothing was noted before."""
    facts = Facts(NOW_MS + 60_000, GATE.having(paused=True))
    for before in (FIRST, None):
        item = history.minute(before, facts, None, [], 0)
        assert (item.state, item.since_ms) == ("paused", NOW_MS + 60_000)


def test_a_point_is_the_difference_of_two_items() -> None:
    """Per window; a minute that was missed is spread, and a count that began again counts from nothing."""
    item = later(1, signed=106, failed=2, at_once=3, accepted=5, waiting=4)
    (point,) = points([later(0, signed=100), item], 60_000)
    assert (point.signed, point.failed, point.at_once, point.accepted, point.backlog) == (6, 2, 3, 5, 4)
    (point,) = points([later(0), later(2, signed=8)], 60_000)
    assert point.signed == 4
    (point,) = points([later(0, signed=100), later(1, signed=7)], 60_000)
    assert point.signed == 7


def test_a_window_is_never_drawn_above_its_limit() -> None:
    """Between items a little over a window apart nearly two windows' calls may lie."""
    (point,) = points([FIRST, replace(FIRST, at_ms=NOW_MS + 61_000, signed=10, failed=10)], 60_000)
    assert (point.signed, point.failed) == (5, 5)


def test_a_bucket_shows_its_busiest_minute() -> None:
    """A day's chart hides no peak."""
    minutes = [
        later(number, signed=(0, 1, 10, 11)[number], waiting=(0, 3, 9, 1)[number]) for number in range(4)
    ]
    shown = points(minutes, 86_400_000)
    assert [(point.signed, point.backlog) for point in shown] == [(9, 9)]
    assert points([FIRST], 60_000) == []


def test_the_counts_are_the_tallys() -> None:
    """Every outcome that is counted is in one of the three bars."""
    for meaning in tally.COUNTED:
        (name,) = tally.increments(Answer(meaning), at_once=False).keys() - {"failing_calls"}
        item = history.minute(None, Facts(NOW_MS, GATE.having(None, **{name: 1})), None, [], 0)
        assert item.signed + item.failed + item.other == 1
        assert bool(item.signed) is (meaning is Meaning.SIGNED)
