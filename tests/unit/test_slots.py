from dataclasses import dataclass, field, replace
from itertools import count

import pytest

from calling.conditional import TRIES_MAX
from calling.slots import Lease, Slots
from core import window as windows
from core.answers import Answer, Meaning
from core.errors import Unavailable
from core.gate import Gate
from core.window import Change, Denial, Kind, Limits, NotBefore, Slot, Timing, Window
from ports import Conflict, Written
from tests.fakes.memory import MemoryWindow, MemoryWindowStore

NOW_MS = 1_000_000
TIMING = Timing(grace_ms=10_000, margin_ms=250)
LEASED_UNTIL_MS = NOW_MS + 102_250


@dataclass
class Clock:
    """Wall and monotonic time, each set by hand."""

    wall_ms: int = NOW_MS
    mono_ms: int = 5_000

    def now_ms(self) -> int:
        return self.wall_ms

    def monotonic_ms(self) -> int:
        return self.mono_ms

    async def sleep_ms(self, duration_ms: int) -> None:
        self.pass_ms(duration_ms)

    def pass_ms(self, elapsed_ms: int) -> None:
        self.wall_ms += elapsed_ms
        self.mono_ms += elapsed_ms


@dataclass
class Tokens:
    """Permit ids in order."""

    numbers: "count[int]" = field(default_factory=count)

    def request_id(self, now_ms: int) -> str:
        raise NotImplementedError

    def token(self) -> str:
        return f"permit-{next(self.numbers)}"

    def fraction(self) -> float:
        return 0.0


class RepeatedStore(MemoryWindowStore):
    """The SDK's retry of a write that had landed: the answer that arrives is the second one's."""

    async def apply(self, change: Change) -> Written[Gate] | Conflict[Gate]:
        await super().apply(change)
        return await super().apply(change)


class ContestedStore(MemoryWindowStore):
    """Before each write somebody else changes the slot that it is about."""

    tries = 0

    async def apply(self, change: Change) -> Written[Gate] | Conflict[Gate]:
        self.tries += 1
        gate = await self.read()
        for index in change.expected_slots:
            await super().apply(replace(change, slots={index: Slot(NOW_MS - 100 + self.tries)}))
        assert gate
        return await super().apply(change)


def setup(
    *free_at_ms: int, store: type[MemoryWindowStore] = MemoryWindowStore
) -> tuple[Slots, Clock, MemoryWindow]:
    window = Window(Limits(len(free_at_ms), 60_000), tuple(Slot(free_at_ms=at_ms) for at_ms in free_at_ms))
    item, clock = MemoryWindow(Gate(window)), Clock()
    return Slots(store(item, lambda: Gate(window)), clock, Tokens(), TIMING), clock, item


async def leased(slots: Slots) -> Lease:
    lease = await slots.take(Kind.FRESH, 30_000)
    assert isinstance(lease, Lease)
    return lease


def stored(item: MemoryWindow) -> Window:
    return item.window


async def test_one_write_per_take_and_one_per_settle() -> None:
    """What a call costs."""
    slots, clock, item = setup(0)
    lease = await leased(slots)
    clock.pass_ms(400)
    await slots.settle(lease, Answer(Meaning.FAILED, status=502, first_byte_mono_ms=5_300, latency_ms=400))
    assert item.writes == 2
    assert stored(item).slots[0].free_at_ms == NOW_MS + 300 + 60_000 + 250


async def test_counting_costs_no_write() -> None:
    """A count is part of the next write that lands, and of that one only."""
    slots, _, item = setup(0)
    slots.count_later({"accepted": 1})
    slots.count_later({"accepted": 1})
    assert item.gate
    assert not await slots.try_once(Change(item.gate.window.limits.version, expected={"paused": True}))
    lease = await leased(slots)
    await slots.settle(lease, Answer(Meaning.NEVER_SENT))
    assert (item.writes, item.gate.tally.accepted) == (3, 2)


@pytest.mark.parametrize("meaning", [Meaning.SIGNED, Meaning.REFUSED, Meaning.LIMITED, Meaning.KEY_REFUSED])
async def test_an_answer_of_any_status_settles(meaning: Meaning) -> None:
    """It has arrived: what the answer says makes no difference."""
    slots, clock, item = setup(0)
    lease = await leased(slots)
    clock.pass_ms(400)
    await slots.settle(lease, Answer(meaning, first_byte_mono_ms=5_300))
    assert stored(item).slots[0].free_at_ms == NOW_MS + 60_550


async def test_an_unknown_outcome_holds_the_lease() -> None:
    """It may still arrive: it is counted, and the lease stands."""
    slots, clock, item = setup(0)
    lease = await leased(slots)
    clock.pass_ms(30_000)
    await slots.settle(lease, Answer(Meaning.UNANSWERED, latency_ms=30_000))
    assert stored(item).slots[0].free_at_ms == LEASED_UNTIL_MS
    assert item.gate
    assert item.gate.tally.unanswered == 1


async def test_a_call_never_sent_costs_no_slot() -> None:
    """The slot is as it was, and can be had at once."""
    slots, _, item = setup(7)
    lease = await leased(slots)
    await slots.settle(lease, Answer(Meaning.NEVER_SENT))
    assert stored(item).slots == (Slot(7),)


async def test_a_machine_that_slept_settles_as_if_the_call_went_out_at_the_end_of_it() -> None:
    """Monotonic time stands still in sleep, and the bytes may have waited with the machine."""
    slots, clock, item = setup(0)
    lease = await leased(slots)
    clock.wall_ms += 20_000
    clock.pass_ms(400)
    await slots.settle(lease, Answer(Meaning.SIGNED, first_byte_mono_ms=5_300))
    assert stored(item).slots[0].free_at_ms == NOW_MS + 20_300 + 60_250


async def test_a_clock_set_back_settles_by_monotonic_time() -> None:
    """A slot is never freed early because a clock was corrected in between."""
    slots, clock, item = setup(0)
    lease = await leased(slots)
    clock.wall_ms -= 5_000
    clock.pass_ms(400)
    await slots.settle(lease, Answer(Meaning.SIGNED, first_byte_mono_ms=5_300))
    assert stored(item).slots[0].free_at_ms == NOW_MS + 300 + 60_250


@pytest.mark.parametrize(
    ("wall_ms", "mono_ms", "may"),
    [
        (2_000, 2_000, True),
        (2_001, 2_001, False),
        (2_001, 100, False),  # the machine slept
        (100, 2_001, False),  # the clock was set back
    ],
)
async def test_a_call_is_sent_in_time_by_both_clocks(wall_ms: int, mono_ms: int, may: bool) -> None:
    """Two seconds after the take, by wall time and by monotonic time."""
    slots, clock, _ = setup(0)
    may_send = slots.may_send(await leased(slots))
    clock.wall_ms += wall_ms
    clock.mono_ms += mono_ms
    assert may_send() is may


@pytest.mark.parametrize(("elapsed_ms", "may"), [(1_500, True), (1_501, False)])
async def test_the_send_limit_may_count_from_earlier(elapsed_ms: int, may: bool) -> None:
    """The job's fence is older than the take, and its limit holds too."""
    slots, clock, _ = setup(0)
    may_send = slots.may_send(await leased(slots), since_mono_ms=4_500)
    clock.pass_ms(elapsed_ms)
    assert may_send() is may


async def test_a_repeated_take_that_had_landed_is_granted() -> None:
    """The repeat fails its own condition, and finds itself to be the holder."""
    slots, _, item = setup(0, 0, store=RepeatedStore)
    lease = await leased(slots)
    assert stored(item).slots == (Slot(LEASED_UNTIL_MS, lease.permit.id, Kind.FRESH), Slot())


async def test_a_lost_race_tries_the_next_slot() -> None:
    """A view may be old: the window as it is now decides."""
    slots, _, item = setup(0, 0)
    await slots.refresh()
    other = Slots(MemoryWindowStore(item, lambda: Gate(stored(item))), Clock(), Tokens(count(100)), TIMING)
    first, second = await leased(other), await leased(slots)
    assert (first.permit.slot, second.permit.slot) == (0, 1)
    assert await slots.take(Kind.FRESH, 30_000) == NotBefore(LEASED_UNTIL_MS, Denial.BUSY)


async def test_the_tries_at_a_contested_slot_are_bounded() -> None:
    """After that there is no slot to be had now."""
    slots, _, _ = setup(0, store=ContestedStore)
    assert await slots.take(Kind.FRESH, 30_000) == NotBefore(NOW_MS, Denial.BUSY)
    store = slots._store  # noqa: SLF001
    assert isinstance(store, ContestedStore)
    assert store.tries == TRIES_MAX


async def test_a_settle_that_is_always_refused_leaves_the_lease() -> None:
    """It says so, and risks nothing."""
    slots, _, item = setup(0)
    lease = await leased(slots)

    class Refusing(MemoryWindowStore):
        async def apply(self, change: Change) -> Written[Gate] | Conflict[Gate]:
            del change
            return Conflict(await self.read())

    slots._store = Refusing(item, lambda: Gate(stored(item)))  # noqa: SLF001
    with pytest.raises(Unavailable):
        await slots.settle(lease, Answer(Meaning.SIGNED, first_byte_mono_ms=5_300))
    assert stored(item).slots[0].free_at_ms == LEASED_UNTIL_MS


async def test_a_settle_after_a_change_of_limits_uses_the_new_window() -> None:
    """It is refused for the version, and decided again on the window as it is then."""
    slots, clock, item = setup(0)
    lease = await leased(slots)
    change = windows.change_limits(stored(item), 1, 90_000, deployed=False)
    assert change
    await MemoryWindowStore(item, lambda: Gate(stored(item))).apply(change)
    clock.pass_ms(400)
    await slots.settle(lease, Answer(Meaning.SIGNED, first_byte_mono_ms=5_300))
    assert stored(item).limits.version == 2
    assert stored(item).slots[0].free_at_ms == LEASED_UNTIL_MS + 30_000  # longer W: no slot before
