from dataclasses import replace

import pytest

from core import window as windows
from core.gate import Gate
from core.window import (
    Change,
    Denial,
    Grant,
    Kind,
    Limits,
    NotBefore,
    Permit,
    Slot,
    Timing,
    Window,
)
from ports import Conflict, Written
from tests.fakes.memory import MemoryWindow, MemoryWindowStore

NOW_MS = 1_000_000
TIMING = Timing(grace_ms=10_000, margin_ms=250)
CALL_LIMIT_MS = 30_000
LEASE_MS = 2_000 + 30_000 + 10_000 + 60_000 + 250


async def written(window: Window, change: Change | None) -> Window:
    """Return the window once the change has landed."""
    assert change is not None
    result = await MemoryWindowStore(MemoryWindow(Gate(window)), lambda: Gate(window)).apply(change)
    assert isinstance(result, Written)
    return result.record.window


async def refused(window: Window, change: Change | None) -> bool:
    assert change is not None
    store = MemoryWindowStore(MemoryWindow(Gate(window)), lambda: Gate(window))
    return isinstance(await store.apply(change), Conflict)


def window_of(*free_at_ms: int, window_ms: int = 60_000) -> Window:
    slots = tuple(Slot(free_at_ms=at_ms) for at_ms in free_at_ms)
    return Window(Limits(len(slots), window_ms), slots)


def take(
    window: Window, now_ms: int = NOW_MS, *, reserve: int = 0, kind: Kind = Kind.FRESH
) -> Grant | NotBefore:
    return windows.take(
        window,
        now_ms,
        permit_id="mine",
        kind=kind,
        timing=TIMING,
        call_limit_ms=CALL_LIMIT_MS,
        reserve=reserve,
    )


async def taken(window: Window, now_ms: int = NOW_MS) -> tuple[Window, Permit]:
    grant = take(window, now_ms)
    assert isinstance(grant, Grant)
    return await written(window, grant.change), grant.permit


@pytest.mark.parametrize(
    ("calls", "window_ms", "accepted"),
    [
        (1, 1_000, True),
        (100, 86_400_000, True),
        (0, 60_000, False),
        (101, 60_000, False),
        (10, 999, False),
        (10, 86_400_001, False),
    ],
)
def test_limits_out_of_range_are_refused(calls: int, window_ms: int, accepted: bool) -> None:
    """From 1 to 100 calls in a window of 1 s to 24 h; the error names what is wrong."""
    if accepted:
        assert Limits(calls, window_ms).version == 1
    else:
        with pytest.raises(ValueError, match="must be from"):
            Limits(calls, window_ms)


def test_the_lease_covers_the_worst_case() -> None:
    """Send limit + call time limit + late arrival + W + clock margin, exactly."""
    assert TIMING.lease_ms(CALL_LIMIT_MS, 60_000) == LEASE_MS == 102_250


def test_take_leases_the_slot_that_is_free_longest() -> None:
    """The smallest `free_at_ms` is taken, on condition that this slot is still as it was seen."""
    window = window_of(NOW_MS - 1, NOW_MS - 500, NOW_MS + 1)
    assert take(window) == Grant(
        Permit("mine", 1, window.slots[1], NOW_MS, NOW_MS + 2_000, window.limits),
        Change(1, {1: window.slots[1]}, {1: Slot(NOW_MS + LEASE_MS, "mine", Kind.FRESH)}),
    )


@pytest.mark.parametrize(("spread", "slot"), [(0.0, 1), (0.49, 1), (0.5, 0), (0.999, 0)])
def test_losers_of_a_race_spread_over_the_free_slots(spread: float, slot: int) -> None:
    """Any free slot is as good as the one that has been free longest; a busy one is never taken."""
    grant = windows.take(
        window_of(NOW_MS - 1, NOW_MS - 500, NOW_MS + 1),
        NOW_MS,
        permit_id="mine",
        kind=Kind.FRESH,
        timing=TIMING,
        call_limit_ms=CALL_LIMIT_MS,
        spread=spread,
    )
    assert isinstance(grant, Grant)
    assert grant.permit.slot == slot


@pytest.mark.parametrize(("free_at_ms", "granted"), [(NOW_MS, True), (NOW_MS + 1, False)])
def test_a_slot_is_free_at_its_time_and_not_a_millisecond_before(free_at_ms: int, granted: bool) -> None:
    """Waiting until `at_ms` is enough, and one millisecond less is not."""
    decision = take(window_of(free_at_ms))
    assert isinstance(decision, Grant) is granted
    if not granted:
        assert decision == NotBefore(free_at_ms, Denial.BUSY)


@pytest.mark.parametrize(
    ("free", "reserve", "expected"),
    [
        (3, 2, None),
        (2, 2, NotBefore(NOW_MS + 10, Denial.RESERVED)),
        (1, 2, NotBefore(NOW_MS + 20, Denial.RESERVED)),
        (0, 2, NotBefore(NOW_MS + 30, Denial.BUSY)),
        (4, 9, None),
        (3, 9, NotBefore(NOW_MS + 10, Denial.RESERVED)),
    ],
)
def test_the_reserve_is_left_free(free: int, reserve: int, expected: NotBefore | None) -> None:
    """More than `reserve` slots must be free; the answer says when they are, as things stand."""
    slots = [NOW_MS] * free + [NOW_MS + 10 * (index + 1) for index in range(4 - free)]
    decision = take(window_of(*slots), reserve=reserve)
    assert isinstance(decision, Grant) if expected is None else decision == expected


BLOCKED = {"blocked_until_ms": NOW_MS + 7, "block_probe_at_ms": NOW_MS + 9}


@pytest.mark.parametrize(
    ("state", "kind", "expected"),
    [
        (BLOCKED, Kind.FRESH, NotBefore(NOW_MS + 7, Denial.BLOCKED)),
        (BLOCKED, Kind.PROBE, NotBefore(NOW_MS + 7, Denial.BLOCKED)),
        ({"blocked_until_ms": NOW_MS}, Kind.FRESH, None),
    ],
)
def test_blocked_windows_grant_nothing(state: dict[str, int], kind: Kind, expected: NotBefore | None) -> None:
    """A block stops calls though slots are free, a probe too."""
    window = replace(window_of(0), **state)  # type: ignore[arg-type]
    decision = take(window, kind=kind)
    assert isinstance(decision, Grant) if expected is None else decision == expected


async def test_an_answer_frees_its_slot_a_window_after_its_first_byte() -> None:
    """First byte + W + margin: the call arrived before its first byte."""
    window, permit = await taken(window_of(0, 0))
    window = await written(window, windows.settle(window, permit, NOW_MS + 300, TIMING))
    assert window.slots == (Slot(NOW_MS + 60_550, "mine", Kind.FRESH), Slot())


async def test_a_stuck_settle_cannot_shorten_a_newer_lease() -> None:
    """Whoever is not the holder any more settles nothing and gives nothing back."""
    window, permit = await taken(window_of(0))
    window = replace(window, slots=(Slot(NOW_MS + 200_000, "another", Kind.RETRY),))
    assert windows.settle(window, permit, NOW_MS + 300, TIMING) is None
    assert windows.give_back(window, permit) is None


async def test_a_settle_decided_on_an_old_view_is_refused() -> None:
    """The write is conditional on the slot as it was seen, not on the decision's being right then."""
    window, permit = await taken(window_of(0))
    settle = windows.settle(window, permit, NOW_MS + 300, TIMING)
    assert await refused(replace(window, slots=(Slot(NOW_MS + 9, "another", Kind.RETRY),)), settle)


async def test_a_call_never_sent_gives_its_slot_back_as_it_was() -> None:
    """Time, holder and kind of the slot's last real call return."""
    before = replace(window_of(0, 0), slots=(Slot(NOW_MS - 5, "last", Kind.RETRY), Slot(NOW_MS + 9)))
    window, permit = await taken(before)
    assert await written(window, windows.give_back(window, permit)) == before


async def test_of_two_takes_on_one_view_one_lands() -> None:
    """A take is conditional on its slot: each grant has one owner."""
    before = window_of(0, 0)
    grant = take(before)
    assert isinstance(grant, Grant)
    assert await refused(await written(before, grant.change), grant.change)


async def test_old_limits_take_and_settle_nothing() -> None:
    """Every write is conditional on `limits_version`: workers that hold the old numbers must look again."""
    before = window_of(0, 0)
    grant = take(before)
    assert isinstance(grant, Grant)
    window, permit = await taken(before)
    settle = windows.settle(window, permit, NOW_MS + 300, TIMING)
    bumped = replace(window, limits=Limits(2, 90_000, version=2))
    assert await refused(replace(before, limits=bumped.limits), grant.change)
    assert await refused(bumped, settle)
    again = await written(bumped, windows.settle(bumped, permit, NOW_MS + 300, TIMING))
    assert again.slots[0].free_at_ms == NOW_MS + 300 + 90_000 + 250


async def test_after_a_change_of_limits_an_unsent_call_keeps_its_lease() -> None:
    """The slot's earlier state was computed for other limits."""
    window, permit = await taken(window_of(0))
    window = await written(window, windows.change_limits(window, 1, 90_000, deployed=False))
    assert windows.give_back(window, permit) is None


CHANGES = {
    "fewer: those busy longest stay": ((10, 40, 20, 30), 60_000, 2, 60_000, [40, 30], 20),
    "more: the new ones are free": ((40, 20), 60_000, 3, 60_000, [40, 20, 0], 0),
    "longer: none is free before the last one was, and the difference": (
        (10, 40),
        60_000,
        2,
        90_000,
        [30_040, 30_040],
        30_040,
    ),
    "shorter: frees nothing early": ((40, 10), 60_000, 2, 30_000, [40, 10], 0),
    "fewer and longer": ((10, 40, 20), 60_000, 1, 61_000, [1_040], 1_040),
    "more and longer": ((40,), 60_000, 2, 61_000, [1_040, 1_040], 1_040),
}


@pytest.mark.parametrize(
    ("before", "old_ms", "calls", "new_ms", "after", "tightened"), CHANGES.values(), ids=CHANGES
)
async def test_a_change_of_limits(
    before: tuple[int, ...], old_ms: int, calls: int, new_ms: int, after: list[int], tightened: int
) -> None:
    """A call taken after the change finds at most the new N in the new W; the version goes up by one."""
    window = window_of(*before, window_ms=old_ms)
    changed = await written(window, windows.change_limits(window, calls, new_ms, deployed=True))
    assert [slot.free_at_ms for slot in changed.slots] == after
    assert changed.tightened_until_ms == tightened
    assert changed.limits == Limits(calls, new_ms, version=2)
    assert changed.deployed == f"{calls}/{new_ms}"


async def test_lowering_and_raising_again_forgets_no_call() -> None:
    """The slots that come back are busy for as long as those dropped were."""
    window = window_of(10, 40, 20, 30)
    window = await written(window, windows.change_limits(window, 2, 60_000, deployed=False))
    window = await written(window, windows.change_limits(window, 4, 60_000, deployed=False))
    assert [slot.free_at_ms for slot in window.slots] == [40, 30, 20, 20]
    assert window.limits.version == 3


async def test_a_kept_slot_is_not_free_before_the_calls_of_dropped_ones_have_left() -> None:
    """A call through a dropped slot may arrive at the end of its lease, long after the kept one's answer."""
    window, _ = await taken(window_of(0, 0))
    grant = windows.take(
        window, NOW_MS + 5, permit_id="late", kind=Kind.FRESH, timing=TIMING, call_limit_ms=CALL_LIMIT_MS
    )
    assert isinstance(grant, Grant)
    window = await written(window, grant.change)
    window = await written(window, windows.change_limits(window, 1, 60_000, deployed=False))
    settle = windows.settle(window, grant.permit, NOW_MS + 300, TIMING)
    assert (await written(window, settle)).slots[0].free_at_ms == NOW_MS + LEASE_MS


async def test_limits_that_stay_the_same_change_nothing() -> None:
    """No write; only a deployment that asks for what an operator set before leaves its mark."""
    window = windows.empty(Limits(2, 60_000))
    assert windows.change_limits(window, 2, 60_000, deployed=True) is None
    window = await written(window, windows.change_limits(window, 3, 60_000, deployed=False))
    assert windows.change_limits(window, 3, 60_000, deployed=False) is None
    marked = await written(window, windows.change_limits(window, 3, 60_000, deployed=True))
    assert (marked.deployed, marked.limits) == ("3/60000", window.limits)


async def test_an_operators_limits_stand_until_a_deployment_asks_for_others() -> None:
    """A redeployment of the same numbers does not undo what an operator set."""
    window = windows.empty(Limits(10, 60_000))
    window = await written(window, windows.change_limits(window, 5, 60_000, deployed=False))
    assert not windows.wants_deployed(window, Limits(10, 60_000))
    assert windows.wants_deployed(window, Limits(8, 60_000))


async def test_a_change_of_limits_is_refused_if_any_slot_moved() -> None:
    """Which slots stay is decided on all of them."""
    window = window_of(10, 20)
    change = windows.change_limits(window, 1, 60_000, deployed=False)
    assert await refused(window_of(30, 20), change)


def test_a_window_of_which_nothing_is_known_starts_full() -> None:
    """Fail closed: every slot is busy; an empty one is only for where no call was made lately."""
    limits = Limits(2, 60_000)
    assert take(windows.full(limits, NOW_MS + 5)) == NotBefore(NOW_MS + 5, Denial.BUSY)
    assert isinstance(take(windows.empty(limits)), Grant)


async def test_a_block_only_ever_grows() -> None:
    """Several calls may meet a 429; the longest wait holds, but none longer than a day."""
    window = await written(window_of(0), windows.block(window_of(0), 400, 500))
    assert window.blocked_until_ms == 500
    assert windows.block(window, 400, 500) is None
    later = await written(window, windows.block(window, 450, 460))
    assert (later.blocked_until_ms, later.blocked_from_ms) == (500, 450)
    assert later.limited_after(450, 499)
    assert not later.limited_after(451, 499)
    assert not later.limited_after(450, 500)
    assert (await written(window, windows.block(window, 400, 501))).blocked_until_ms == 501
    assert await refused(window, windows.block(window_of(0), 300, 400))
    far = await written(window_of(0), windows.block(window_of(0), NOW_MS, 10**15))
    assert far.blocked_until_ms == NOW_MS + windows.BLOCK_MS_MAX


async def test_a_block_lets_one_call_pass_each_window() -> None:
    """Whatever a header says, one call tests it W after it came, and each W after."""
    free = window_of(0, 0)
    blocked = await written(free, windows.block(free, NOW_MS, NOW_MS + 3_600_000))
    assert take(blocked) == NotBefore(NOW_MS + 60_000, Denial.BLOCKED)
    probe = take(blocked, NOW_MS + 60_000)
    assert isinstance(probe, Grant)
    later = await written(blocked, probe.change)
    assert await refused(later, probe.change)
    assert take(later, NOW_MS + 60_001) == NotBefore(NOW_MS + 120_000, Denial.BLOCKED)


async def test_an_answer_ends_a_block_that_began_before_its_call() -> None:
    """A call that was under way when the block began says nothing of it."""
    blocked = await written(window_of(0), windows.block(window_of(0), NOW_MS, NOW_MS + 3_600_000))
    assert windows.unblock(blocked, NOW_MS) is None
    ended = await written(blocked, windows.unblock(blocked, NOW_MS + 60_000))
    assert not ended.blocked(NOW_MS + 60_000)
    assert windows.unblock(ended, NOW_MS + 60_001) is None


def test_counts_of_slots() -> None:
    """Free at their time; of a kind while busy."""
    slots = (
        Slot(NOW_MS, "a", Kind.FRESH),
        Slot(NOW_MS + 1, "b", Kind.FRESH),
        Slot(NOW_MS + 1, "c", Kind.RETRY),
    )
    window = Window(Limits(3, 60_000), slots)
    assert window.free_slots(NOW_MS) == 1
    assert window.calls_of(Kind.FRESH, NOW_MS) == 1
