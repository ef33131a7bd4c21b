"""What may hold calls back beside the window, and the hints that travel with it."""

from typing import Any

import pytest

from core import gate as gates
from core import hints, key_guard
from core import window as windows
from core.answers import Meaning
from core.gate import Gate
from core.hints import Hints
from core.window import Change, Denial, Grant, Kind, Limits, NotBefore, Slot, Timing, Window
from ports import Conflict, Written
from tests.fakes.memory import MemoryWindow, MemoryWindowStore

NOW_MS = 1_000_000
OPEN = Gate(Window(Limits(1, 60_000), (Slot(),)))

UPSTREAM_LIMITED = {"blocked_until_ms": NOW_MS + 7, "block_probe_at_ms": NOW_MS + 9}
KEY_SUSPECTED = {"suspect_since_ms": 1, "probe_at_ms": NOW_MS + 9}
PROBE_DUE = {"suspect_since_ms": 1, "probe_at_ms": NOW_MS - 9}


async def written(gate: Gate, change: Change | None) -> Gate:
    assert change is not None
    result = await MemoryWindowStore(MemoryWindow(gate), lambda: gate).apply(change)
    assert isinstance(result, Written)
    return result.record


async def refused(gate: Gate, change: Change | None) -> bool:
    assert change is not None
    return isinstance(await MemoryWindowStore(MemoryWindow(gate), lambda: gate).apply(change), Conflict)


@pytest.mark.parametrize(
    ("state", "kind", "expected"),
    [
        ({"paused": True}, Kind.FRESH, NotBefore(0, Denial.PAUSED)),
        ({"paused": True}, Kind.PROBE, NotBefore(0, Denial.PAUSED)),
        (
            {"blocked_until_ms": NOW_MS + 7, "block_probe_at_ms": NOW_MS + 9},
            Kind.FRESH,
            NotBefore(NOW_MS + 7, Denial.BLOCKED),
        ),
        (
            {"blocked_until_ms": NOW_MS + 7, "block_probe_at_ms": NOW_MS + 9},
            Kind.PROBE,
            NotBefore(NOW_MS + 7, Denial.BLOCKED),
        ),
        ({"blocked_until_ms": NOW_MS}, Kind.FRESH, None),
        (
            KEY_SUSPECTED,
            Kind.RETRY,
            NotBefore(NOW_MS + 9, Denial.BLOCKED),
        ),
        (PROBE_DUE, Kind.FRESH, NotBefore(NOW_MS, Denial.BLOCKED)),
        (PROBE_DUE, Kind.PROBE, None),
    ],
)
def test_a_closed_gate_grants_nothing(state: dict[str, Any], kind: Kind, expected: NotBefore | None) -> None:
    """A pause, a block or a suspected key stops calls though slots are free; only a probe passes the last."""
    decision = gates.take(
        OPEN.having(**state),
        NOW_MS,
        permit_id="mine",
        kind=kind,
        timing=Timing(grace_ms=10_000, margin_ms=250),
        call_limit_ms=30_000,
    )
    assert isinstance(decision, Grant) if expected is None else decision == expected


async def test_a_pause_is_written_once() -> None:
    """It says who paused, and when; requests do not age meanwhile, and a resume leaves nothing else."""
    paused = await written(OPEN, gates.pause(OPEN, by="olga", now_ms=NOW_MS))
    assert paused == OPEN.having(paused=True, paused_by="olga", paused_at_ms=NOW_MS)
    assert gates.pause(paused, by="otto", now_ms=NOW_MS + 1) is None
    resumed = await written(paused, gates.resume(paused, NOW_MS + 7_000))
    assert resumed == OPEN.having(key_blocked_ms=7_000)
    assert gates.resume(OPEN, NOW_MS) is None


async def test_a_refused_key_is_probed_at_once_then_each_minute() -> None:
    """All calls in flight may be refused: one of them stops the others, until a probe tells."""
    gate = await written(OPEN, key_guard.suspect(OPEN.key, OPEN.window, NOW_MS - 300, NOW_MS))
    assert gate.closed(NOW_MS + 3_600_000)
    assert key_guard.suspect(gate.key, gate.window, NOW_MS, NOW_MS + 1) is None
    claimed = await written(gate, key_guard.claim_probe(gate.key, gate.window, NOW_MS, 7_000))
    assert await refused(claimed, key_guard.claim_probe(gate.key, gate.window, NOW_MS, 7_000))
    later = await written(claimed, key_guard.probe_again(claimed.key, claimed.window, NOW_MS + 500))
    assert later.key.probe_at_ms == NOW_MS + 60_500


def learned(gate: Gate, meaning: Meaning, sent_ms: int, now_ms: int) -> Change:
    return key_guard.learn(gate.key, gate.window, meaning, sent_ms, now_ms)


async def test_a_good_key_lets_calls_go_on() -> None:
    """Any answer to a later call but 401 and 403 ends the suspicion; how long it lasted is counted once."""
    gate = await written(OPEN, key_guard.suspect(OPEN.key, OPEN.window, NOW_MS, NOW_MS))
    for meaning in (Meaning.KEY_REFUSED, Meaning.LIMITED, Meaning.UNANSWERED):
        assert (await written(gate, learned(gate, meaning, NOW_MS + 1, NOW_MS + 9))).key.suspected
    assert (await written(gate, learned(gate, Meaning.SIGNED, NOW_MS - 1, NOW_MS + 9))).key.suspected
    good = learned(gate, Meaning.FAILED, NOW_MS + 1, NOW_MS + 9_000)
    trusted = await written(gate, good)
    assert not trusted.closed(NOW_MS + 9_000)
    assert trusted.key.key_blocked_ms == 9_000
    assert await refused(trusted, good)


@pytest.mark.parametrize(
    ("refused_before_ms", "good_ms", "refuses"),
    [
        (None, NOW_MS - 1, False),
        (NOW_MS - 30_000, NOW_MS - 29_000, True),
        (NOW_MS - 30_000, NOW_MS - 31_000, False),
        (NOW_MS - 90_000, NOW_MS - 60_000, False),
    ],
)
def test_a_message_is_refused_only_by_a_good_key(
    refused_before_ms: int | None, good_ms: int, refuses: bool
) -> None:
    """It met a 401 or 403 twice, and another call showed in between, and lately, that the key is good."""
    key = OPEN.having(key_good_ms=good_ms).key
    assert key.refuses_message(refused_before_ms, NOW_MS) is refuses


async def test_while_the_key_is_good_no_message_stops_the_others() -> None:
    """A 401 or 403 right after a good answer is not held against the key."""
    gate = await written(OPEN, learned(OPEN, Meaning.SIGNED, NOW_MS, NOW_MS + 300))
    assert key_guard.suspect(gate.key, gate.window, NOW_MS + 59_999, NOW_MS + 60_000) is None
    assert key_guard.suspect(gate.key, gate.window, NOW_MS + 60_000, NOW_MS + 60_001)


async def test_an_operator_ends_every_wait() -> None:
    """A block goes, and a suspected key is probed at once."""
    assert gates.unblock(OPEN, NOW_MS) is None
    waiting = OPEN.having(
        blocked_until_ms=NOW_MS + 9, block_probe_at_ms=NOW_MS + 9, suspect_since_ms=1, probe_at_ms=NOW_MS + 9
    )
    unblocked = await written(waiting, gates.unblock(waiting, NOW_MS))
    assert unblocked.open_at_ms(NOW_MS) == NOW_MS
    assert unblocked.key.probe_at_ms == NOW_MS


def test_latency_is_the_median_of_the_last_ones() -> None:
    """One slow call makes no slow upstream; nothing known is half a second."""
    assert Hints().latency_ms == 500
    assert Hints((200, 30_000, 300)).latency_ms == 300


def test_only_the_last_latencies_are_kept() -> None:
    """Eight, newest last."""
    assert Hints(tuple(range(8))).latencies_with(99) == (1, 2, 3, 4, 5, 6, 7, 99)


@pytest.mark.parametrize(
    ("wake_in_ms", "needed"),
    [(-5_000, True), (0, True), (1_999, True), (2_000, False), (30_000, False), (30_001, True)],
)
def test_a_wake_up_is_trusted_only_between_two_seconds_and_the_moment(wake_in_ms: int, needed: bool) -> None:
    """A nearer one may come before the index shows what was left; a later one would come too late."""
    hints_now = Hints(wake_at_ms=NOW_MS + wake_in_ms)
    assert hints.wake_up_needed(hints_now, NOW_MS, NOW_MS + 30_000) is needed


async def test_of_many_who_leave_something_one_sets_the_wake_up() -> None:
    """A burst costs one write of the moment and one message."""
    at_ms = NOW_MS + 30_000
    change = hints.announce(OPEN.hints, OPEN.window, NOW_MS, at_ms=at_ms, counts={})
    assert change
    gate = await written(OPEN, change)
    assert gate == OPEN.having(wake_at_ms=at_ms)
    assert await refused(gate, change)
    assert hints.announce(gate.hints, gate.window, NOW_MS, at_ms=at_ms, counts={}) is None
    assert hints.announce(gate.hints, gate.window, NOW_MS, at_ms=None, counts={}) is None


async def test_each_job_that_begins_to_wait_is_counted() -> None:
    """Whatever others write meanwhile: the count needs no view of what was there."""
    told = hints.announce(OPEN.hints, OPEN.window, NOW_MS, at_ms=None, counts={"waits:alice": 1})
    assert told
    assert not told.expected
    gate = await written(await written(OPEN, told), told)
    assert gate.waiting == {"alice": 2}


async def test_fields_that_no_decision_was_based_on_are_written_whatever_was_there() -> None:
    """The slots stay as they are."""
    assert await written(OPEN, windows.write_fields(OPEN.window, slow_probe_at_ms=5)) == OPEN.having(
        slow_probe_at_ms=5
    )


async def test_an_old_view_takes_nothing_after_a_pause() -> None:
    """An instance that read the gate before a pause, and stood still, is refused by its write."""
    paused = await written(OPEN, gates.pause(OPEN, by="olga", now_ms=NOW_MS))
    timing = Timing(grace_ms=10_000, margin_ms=250)
    taken = gates.take(OPEN, NOW_MS, permit_id="mine", kind=Kind.FRESH, timing=timing, call_limit_ms=30_000)
    assert isinstance(taken, Grant)
    assert await refused(paused, taken.change)
