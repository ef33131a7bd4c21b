import heapq
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import scheduling
from core.gate import Gate
from core.scheduling import Due, GivingUp, Inline, Next, Turn
from core.window import Kind, Limits, Slot, Window

NOW_MS = 1_000_000
WINDOW_MS = 60_000
BUSY_MS = NOW_MS + 10_000


def window_of(*free_at_ms: int, kind: Kind = Kind.NONE) -> Window:
    return Window(
        Limits(len(free_at_ms), WINDOW_MS), tuple(Slot(free_at_ms=at_ms, kind=kind) for at_ms in free_at_ms)
    )


def busy_with(fresh: int, calls: int = 10) -> Window:
    """Return a window with that many slots busy with fresh calls, the rest free."""
    slots = [Slot(BUSY_MS, str(index), Kind.FRESH) for index in range(fresh)]
    return Window(Limits(calls, WINDOW_MS), tuple(slots + [Slot()] * (calls - fresh)))


@pytest.mark.parametrize(
    ("fresh", "calls", "expected"),
    [(0, 10, 0), (1, 10, 2), (2, 10, 2), (3, 10, 3), (5, 10, 4), (10, 10, 4), (3, 3, 1), (1, 1, 0)],
)
def test_the_reserve_is_one_more_than_half_of_the_recent_fresh_calls(
    fresh: int, calls: int, expected: int
) -> None:
    """Rounded up, at most 4 and at most half of the slots; none without recent arrivals."""
    assert scheduling.reserve(busy_with(fresh, calls), NOW_MS) == expected


def test_the_reserve_forgets_calls_that_have_left_the_window() -> None:
    """Only slots that are still busy count."""
    assert scheduling.reserve(busy_with(10), BUSY_MS) == 0


FRESH = [Due("f2", 20, 20), Due("f1", 10, 10)]
YOUNG_MS = NOW_MS - 10 * WINDOW_MS
RETRIES = [Due("r2", YOUNG_MS + 1, 0), Due("r1", YOUNG_MS, 0)]
OLD = Due("old", YOUNG_MS - 1, 9)
OLDER = Due("older", YOUNG_MS - 2, 9)

TURNS = {
    "nothing is due": ([], [], False, None),
    "fresh before retry, first accepted first": (FRESH, RETRIES, False, Next(FRESH[1], Kind.FRESH, 0)),
    "a retry in the order of its time, leaving the reserve": (
        [],
        RETRIES,
        False,
        Next(RETRIES[1], Kind.RETRY, 2),
    ),
    "an old retry before a fresh one": (
        FRESH,
        [*RETRIES, OLD, OLDER],
        False,
        Next(OLDER, Kind.RETRY, 0, old_retry=True),
    ),
    "but only every second time": (FRESH, [OLD], True, Next(FRESH[1], Kind.FRESH, 0)),
    "without a fresh one age gives no right to the reserve": ([], [OLD], False, Next(OLD, Kind.RETRY, 2)),
}


@pytest.mark.parametrize(("fresh", "retries", "old_retry_last", "expected"), TURNS.values(), ids=TURNS)
def test_whose_turn_it_is(
    fresh: list[Due], retries: list[Due], old_retry_last: bool, expected: Next | None
) -> None:
    """Fresh before retry; while both wait every second call is for a retry due for more than ten windows."""
    window = busy_with(fresh=2)
    assert scheduling.choose(fresh, retries, window, NOW_MS, Turn(old_retry_last=old_retry_last)) == expected


@pytest.mark.parametrize(
    ("failing_since_ms", "jitter", "expected_ms"),
    [
        (NOW_MS, 0.0, NOW_MS + 30_000),
        (NOW_MS - 300_000, 0.0, NOW_MS + 30_000),
        (NOW_MS - 400_000, 0.0, NOW_MS + 40_000),
        (NOW_MS, 0.5, NOW_MS + 31_500),
        (NOW_MS - 400_000, 0.5, NOW_MS + 42_000),
        (NOW_MS - 10**9, 0.5, NOW_MS + 21_600_000),
    ],
)
def test_when_a_message_is_tried_again(failing_since_ms: int, jitter: float, expected_ms: int) -> None:
    """After 30 s or a tenth of the outage's age, whichever is longer; jitter adds a tenth. At most 6 h."""
    assert scheduling.retry_at_ms(NOW_MS, failing_since_ms, 30_000, jitter) == expected_ms


@given(jitter=st.floats(0, 1, exclude_max=True), age_ms=st.integers(0, 10**8))
def test_jitter_only_lengthens(jitter: float, age_ms: int) -> None:
    """No retry is earlier than without jitter."""
    since_ms = NOW_MS - age_ms
    plain_ms = scheduling.retry_at_ms(NOW_MS, since_ms, 30_000, 0)
    assert plain_ms <= scheduling.retry_at_ms(NOW_MS, since_ms, 30_000, jitter)


IDLE = Gate(window_of(0, 0))
SLOW = IDLE.having((5_000,) * 3)
INLINE = {
    "a free slot, nothing known of latency": (IDLE, 1_000, False, Inline.YES),
    "no time left": (IDLE, 99, False, Inline.NO_TIME),
    "just time enough": (IDLE, 500, False, Inline.YES),
    "a fresh request waits": (IDLE, 1_000, True, Inline.OTHERS_WAIT),
    "no slot is free": (Gate(window_of(BUSY_MS, BUSY_MS)), 1_000, False, Inline.NO_SLOT),
    "calls are blocked": (
        IDLE.having(blocked_until_ms=BUSY_MS, block_probe_at_ms=BUSY_MS),
        1_000,
        False,
        Inline.UPSTREAM_LIMITED,
    ),
    "paused": (IDLE.having(paused=True), 1_000, True, Inline.PAUSED),
    "the key is suspected": (IDLE.having(suspect_since_ms=1), 1_000, True, Inline.KEY_REFUSED),
    "the median just fits": (IDLE.having((1, 1_000, 9_000)), 1_000, False, Inline.YES),
    "slow: one probes": (SLOW, 1_000, False, Inline.SLOW_PROBE),
    "slow, and probed within the window": (
        SLOW.having(slow_probe_at_ms=NOW_MS - WINDOW_MS + 1),
        1_000,
        False,
        Inline.TOO_SLOW,
    ),
    "slow, and probed a window ago": (
        SLOW.having(slow_probe_at_ms=NOW_MS - WINDOW_MS),
        1_000,
        False,
        Inline.SLOW_PROBE,
    ),
}


def test_callers_take_turns() -> None:
    """By name from the one served last, each with its oldest job first, whatever the others' queues hold."""
    flood = [Due(f"flood {number}", NOW_MS - 100 + number, 0, "flood") for number in range(50)]
    others = [Due("alice", NOW_MS, 0, "alice"), Due("zoe", NOW_MS, 0, "zoe")]
    rows, order, served = [*flood, *others], list[str](), ""
    for _ in range(5):
        turn = scheduling.choose(rows, [], IDLE.window, NOW_MS, Turn(served))
        assert turn
        order.append(turn.due.job_id)
        rows.remove(turn.due)
        served = turn.due.client
    assert order == ["alice", "flood 0", "zoe", "flood 1", "flood 2"]


FREE_TIMES = st.lists(st.integers(NOW_MS - 10, NOW_MS + 3 * WINDOW_MS), min_size=1, max_size=10)


def test_retries_take_turns_too() -> None:
    """A caller's retry waits for one call of each other caller, however many of theirs are due before it."""
    flood = [Due(f"flood {number}", NOW_MS - 100 + number, 0, "flood") for number in range(50)]
    others = [Due(name, NOW_MS, 0, name.split()[0]) for name in ("alice 1", "alice 2", "zoe 1")]
    rows = [*flood, *others]
    order = scheduling.turns([], rows, window_of(*[0] * 6), NOW_MS, Turn(retry_served="flood"), calls_max=4)
    assert [call.due.job_id for call in order] == ["zoe 1", "alice 1", "flood 0", "alice 2"]
    assert order[0].hints == {"late_last": False, "old_retry_last": False, "retry_served": "zoe"}


def test_a_late_job_has_every_second_call() -> None:
    """A long queue is served in time, whoever comes later; turns and old retries go on in between."""
    queue = [Due(f"alice {number}", NOW_MS - 9 * WINDOW_MS + number, 0, "alice") for number in range(5)]
    later = [Due(f"{name} {number}", NOW_MS, 0, name) for name in ("bob", "zoe") for number in range(5)]
    old = [Due(f"old {number}", NOW_MS - 11 * WINDOW_MS, 0, "retrier") for number in range(5)]
    calls = scheduling.turns(
        [*queue, *later], old, window_of(*[0] * 8), NOW_MS, Turn("alice"), calls_max=8, late_ms=8 * WINDOW_MS
    )
    assert [call.due.job_id for call in calls] == [
        *("alice 0", "old 0", "alice 1", "bob 0", "alice 2", "old 1", "alice 3", "zoe 0"),
    ]
    assert calls[0].hints == {"late_last": True}


def test_old_retries_take_turns_among_themselves() -> None:
    """Those that have been due for more than ten windows get every second call, caller by caller."""
    long_ago_ms = NOW_MS - 11 * WINDOW_MS
    old = [Due(f"flood {number}", long_ago_ms + number, 0, "flood") for number in range(5)]
    retries = [*old, Due("alice", long_ago_ms + 9, 0, "alice"), Due("recent", NOW_MS, 0, "bob")]
    fresh = [Due(f"fresh {number}", NOW_MS, 0, "flood") for number in range(5)]
    calls = scheduling.turns(fresh, retries, window_of(*[0] * 6), NOW_MS, Turn(), calls_max=6)
    assert [call.due.job_id for call in calls if call.old_retry] == ["alice", "flood 0", "flood 1"]
    assert [call.old_retry for call in calls] == [True, False] * 3


@given(slots=FREE_TIMES, span_ms=st.integers(0, 10 * WINDOW_MS))
def test_how_many_calls_fit(slots: list[int], span_ms: int) -> None:
    """As many as start within the span, counted one by one."""
    gate = Gate(window_of(*slots))
    fit = scheduling.calls_within(gate, NOW_MS, span_ms)
    times_ms = [scheduling.call_time_ms(gate, NOW_MS, ahead) for ahead in range(fit + 1)]
    assert all(at_ms <= NOW_MS + span_ms for at_ms in times_ms[:fit])
    assert times_ms[fit] > NOW_MS + span_ms


@given(slots=FREE_TIMES, latency_ms=st.integers(1, 5_000), ahead=st.integers(0, 50))
def test_a_call_s_time_is_that_of_its_turn(slots: list[int], latency_ms: int, ahead: int) -> None:
    """The same as taking the slot that is free first, call after call, each for a window and a latency."""
    gate = Gate(window_of(*slots)).having((latency_ms,))
    cycle_ms = WINDOW_MS + latency_ms
    free_ms = [max(NOW_MS, min(at_ms, NOW_MS + cycle_ms)) for at_ms in slots]
    at_ms = heapq.heappop(heap := sorted(free_ms))
    for _ in range(ahead):
        heapq.heappush(heap, at_ms + cycle_ms)
        at_ms = heapq.heappop(heap)
    assert scheduling.call_time_ms(gate, NOW_MS, ahead) == at_ms


@pytest.mark.parametrize(("gate", "time_left_ms", "fresh_waits", "expected"), INLINE.values(), ids=INLINE)
def test_inline_calls(gate: Gate, time_left_ms: int, fresh_waits: bool, expected: Inline) -> None:
    """Never before a fresh request that waits, never without a slot, never if it can't finish in time."""
    assert (
        scheduling.may_try_inline(
            gate.having(None, **({"waits:alice": 1} if fresh_waits else {})), NOW_MS, time_left_ms
        )
        is expected
    )


def test_the_next_calls_times() -> None:
    """Slots in the order in which they are free, then each again a window and a latency later."""
    gate = Gate(window_of(NOW_MS + 7_000, NOW_MS - 5)).having((400,))
    assert [scheduling.call_time_ms(gate, NOW_MS, ahead) for ahead in range(5)] == [
        NOW_MS,
        NOW_MS + 7_000,
        NOW_MS + 60_400,
        NOW_MS + 67_400,
        NOW_MS + 120_800,
    ]


def test_a_call_under_way_is_expected_to_be_answered() -> None:
    """Its slot counts as free a window and a latency from now, not when its lease for the worst case ends."""
    gate = Gate(window_of(NOW_MS + 102_250)).having((400,))
    assert scheduling.call_time_ms(gate, NOW_MS, 0) == NOW_MS + 60_400


def test_no_call_starts_while_blocked() -> None:
    """A block moves every time."""
    gate = Gate(replace(window_of(0, NOW_MS + 9), blocked_until_ms=NOW_MS + 5, block_probe_at_ms=NOW_MS + 9))
    assert [scheduling.call_time_ms(gate, NOW_MS, ahead) for ahead in (0, 1)] == [NOW_MS + 5, NOW_MS + 9]


@pytest.mark.parametrize(
    ("ahead", "earliest_ms", "expected_ms"),
    [
        (0, 0, NOW_MS + 400),
        (1, 0, NOW_MS + 7_400),
        (2, 0, NOW_MS + 60_800),
        (0, NOW_MS + 30_000, NOW_MS + 30_400),
    ],
)
def test_the_eta(ahead: int, earliest_ms: int, expected_ms: int) -> None:
    """The call's turn, or its retry time if that is later, and the latency."""
    gate = Gate(window_of(NOW_MS + 7_000, NOW_MS - 5)).having((400,))
    assert scheduling.ready_at_ms(gate, NOW_MS, ahead, earliest_ms) == expected_ms


def test_a_retry_is_promised_only_what_the_reserve_leaves() -> None:
    """One free slot, which is kept for new requests: the retry's call is promised for the second one."""
    second_ms = NOW_MS + 34_000
    slots = (
        Slot(0),
        Slot(second_ms, "a", Kind.FRESH),
        *(Slot(NOW_MS + 50_000, "b", Kind.RETRY) for _ in range(2)),
    )
    gate = Gate(Window(Limits(len(slots), WINDOW_MS), slots)).having((400,))
    assert scheduling.reserve(gate.window, NOW_MS) > 0
    assert scheduling.retry_ready_at_ms(gate, NOW_MS, 0, NOW_MS) == second_ms + 400


@pytest.mark.parametrize(("fresh", "retries_ahead"), [(3, 0), (0, 3), (1, 2)])
def test_a_retry_is_promised_its_turn(fresh: int, retries_ahead: int) -> None:
    """Jobs that wait for their first call come before it, and retries that were due earlier."""
    gate = Gate(window_of(*(NOW_MS + n * 1_000 for n in range(5)))).having((400,), **{"waits:alice": fresh})
    assert scheduling.retry_ready_at_ms(gate, NOW_MS, retries_ahead, NOW_MS) == NOW_MS + 3_400


@pytest.mark.parametrize(
    ("calls", "age_ms", "expected"),
    [
        (2, 999, None),
        (3, 0, GivingUp.ATTEMPTS),
        (0, 1_000, GivingUp.AGE),
        (3, 1_000, GivingUp.ATTEMPTS),
    ],
)
def test_when_a_request_is_given_up(calls: int, age_ms: int, expected: GivingUp | None) -> None:
    """At its limit of calls or of age, and not before."""
    assert scheduling.give_up(calls, age_ms, attempts_max=3, age_max_ms=1_000) is expected


@pytest.mark.parametrize(
    ("window", "expected_ms"),
    [
        (window_of(NOW_MS + 5, NOW_MS + 9), NOW_MS + 5),
        (window_of(0, NOW_MS + 9), NOW_MS),
        (replace(window_of(0), blocked_until_ms=NOW_MS + 3, block_probe_at_ms=NOW_MS + 9), NOW_MS + 3),
        (replace(window_of(0), blocked_until_ms=NOW_MS + 9, block_probe_at_ms=NOW_MS + 3), NOW_MS + 3),
    ],
)
def test_when_a_fresh_call_can_be_made(window: Window, expected_ms: int) -> None:
    """When the first slot is free; not while calls are blocked."""
    assert scheduling.slot_for_fresh_at_ms(Gate(window), NOW_MS) == expected_ms


SLOTS = st.builds(
    Slot, st.integers(NOW_MS - 10, NOW_MS + 40), st.just(""), st.sampled_from([Kind.FRESH, Kind.RETRY])
)


@given(slots=st.lists(SLOTS, min_size=1, max_size=10), blocked_ms=st.integers(NOW_MS - 5, NOW_MS + 45))
def test_when_a_retry_can_be_made(slots: list[Slot], blocked_ms: int) -> None:
    """The first millisecond at which more slots are free than the reserve holds: looked for one by one."""
    window = Window(
        Limits(len(slots), WINDOW_MS),
        tuple(slots),
        blocked_until_ms=blocked_ms,
        block_probe_at_ms=NOW_MS + 99,
    )
    expected_ms = NOW_MS
    while window.blocked_until_ms > expected_ms or window.free_slots(expected_ms) <= scheduling.reserve(
        window, expected_ms
    ):
        expected_ms += 1
    assert scheduling.slot_for_retry_at_ms(Gate(window), NOW_MS) == expected_ms


@pytest.mark.parametrize("fresh", [True, False])
def test_a_slot_in_flight_is_looked_at_when_its_answer_will_have_freed_it(fresh: bool) -> None:
    """Not when the lease ends: a job that is left while all slots are leased would be called too late."""
    leased = Gate(window_of(NOW_MS + 2 * WINDOW_MS)).having((300,))
    at_ms = scheduling.next_call_at_ms(leased, NOW_MS, NOW_MS, fresh=fresh)
    assert at_ms == NOW_MS + WINDOW_MS + 300
