"""One suite for every place that a window is kept in."""

from collections.abc import Callable
from dataclasses import replace
from math import ceil
from typing import Any

import pytest
from botocore.exceptions import ClientError

from adapters.clock import SystemClock, SystemRandomness
from adapters.dynamodb_window import KEY, DynamoWindowStore, encode
from calling.slots import Lease, Slots
from core import hints, key_guard
from core import window as windows
from core.answers import Meaning
from core.errors import Unavailable
from core.gate import Gate
from core.waiting import field_of, open_field_of
from core.window import Change, Grant, Kind, Limits, Slot, Timing, Window
from ports import Conflict, WindowStore, Written
from tests.fakes.memory import MemoryWindow, MemoryWindowStore

TABLE = "window"
LIMITS = Limits(3, 60_000)
TIMING = Timing(grace_ms=10_000, margin_ms=250)
NOW_MS = 1_800_000_000_000
WRITE_UNIT_BYTES = 1024


class OldDynamo:
    """A DynamoDB of before 2023: no item comes back from a failed condition, and no empty text goes in."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def update_item(self, **kwargs: Any) -> Any:
        kwargs.pop("ReturnValuesOnConditionCheckFailure", None)
        assert {"S": ""} not in kwargs["ExpressionAttributeValues"].values()
        try:
            return self._client.update_item(**kwargs)
        except ClientError as error:
            dict.pop(error.response, "Item", None)  # type: ignore[call-overload]
            raise


class RepeatingDynamo(OldDynamo):
    """The SDK's retry of a write that had landed: the answer that arrives is the second one's."""

    def update_item(self, **kwargs: Any) -> Any:
        self._client.update_item(**kwargs)
        return super().update_item(**kwargs)


def missing() -> Gate:
    return Gate(windows.full(LIMITS, NOW_MS + 102_250))


@pytest.fixture(scope="module", autouse=True)
def window_table(client: Any) -> None:
    client.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "PK", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


@pytest.fixture
def dynamo(client: Any) -> Any:
    client.delete_item(TableName=TABLE, Key=KEY)
    return client


STORES: dict[str, Callable[[Any], WindowStore]] = {
    "memory": lambda _: MemoryWindowStore(MemoryWindow(), missing),
    "dynamodb": lambda client: DynamoWindowStore(client, TABLE, missing),
    "old dynamodb": lambda client: DynamoWindowStore(OldDynamo(client), TABLE, missing),
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, dynamo: Any) -> WindowStore:
    return STORES[request.param](dynamo)


def take(window: Window, now_ms: int, permit_id: str = "mine") -> Grant:
    grant = windows.take(
        window, now_ms, permit_id=permit_id, kind=Kind.FRESH, timing=TIMING, call_limit_ms=30_000
    )
    assert isinstance(grant, Grant)
    return grant


async def changed(store: WindowStore, change: Change | None) -> Gate:
    assert change is not None
    result = await store.apply(change)
    assert isinstance(result, Written)
    return result.record


async def written(store: WindowStore, change: Change | None) -> Window:
    return (await changed(store, change)).window


async def free(store: WindowStore) -> tuple[Window, int]:
    """Return the window and a moment at which every slot is free."""
    return (await store.read()).window, NOW_MS + 200_000


async def test_a_missing_window_is_made_full(store: WindowStore) -> None:
    """Fail closed: nothing is known, so no call before a whole lease has passed."""
    assert await store.read() == missing()
    assert await store.read() == missing()


async def test_a_write_to_a_missing_window_makes_it_full_first(store: WindowStore) -> None:
    """A hint never makes an item of its own: without slots it would be an empty window."""
    await store.apply(windows.write_fields(missing().window, wake_at_ms=5))
    assert (await store.read()).window.slots == missing().window.slots


async def test_a_call_from_take_to_settle(store: WindowStore) -> None:
    """What is written is what is read, slot by slot."""
    window, now_ms = await free(store)
    grant = take(window, now_ms)
    window = await written(store, grant.change)
    assert window.slots[0] == Slot(now_ms + 102_250, "mine", Kind.FRESH)
    window = await written(store, windows.settle(window, grant.permit, now_ms + 300, TIMING))
    assert window.slots[0] == Slot(now_ms + 60_550, "mine", Kind.FRESH)
    assert (await store.read()).window == window


async def test_of_two_takes_of_a_slot_one_lands(store: WindowStore) -> None:
    """The other one learns how the window is now, without the change."""
    window, now_ms = await free(store)
    after = await changed(store, take(window, now_ms).change)
    assert await store.apply(take(window, now_ms, "other").change) == Conflict(after)
    assert await store.read() == after


async def test_takes_of_different_slots_do_not_collide(store: WindowStore) -> None:
    """A write is about its slot, not about the whole window."""
    window, now_ms = await free(store)
    mine = take(window, now_ms)
    busy = replace(window, slots=(Slot(now_ms + 1), *window.slots[1:]))
    await written(store, mine.change)
    after = await written(store, take(busy, now_ms, "other").change)
    assert [slot.holder for slot in after.slots] == ["mine", "other", ""]


async def test_a_call_never_sent_leaves_no_trace(store: WindowStore) -> None:
    """The slot is as it was before, its lack of a holder included."""
    before, now_ms = await free(store)
    grant = take(before, now_ms)
    window = await written(store, grant.change)
    assert await written(store, windows.give_back(window, grant.permit)) == before


async def test_a_change_of_limits_replaces_every_slot(store: WindowStore) -> None:
    """In one write; what was decided on the old limits is refused from then on."""
    before, now_ms = await free(store)
    gate = await changed(store, windows.change_limits(before, 5, 90_000, deployed=True))
    window = gate.window
    assert (window.limits, len(window.slots)) == (Limits(5, 90_000, version=2), 5)
    assert await store.apply(take(before, now_ms).change) == Conflict(gate)
    window = await written(store, windows.change_limits(window, 1, 90_000, deployed=False))
    assert len((await store.read()).window.slots) == 1


async def test_a_change_of_limits_is_refused_if_a_slot_moved(store: WindowStore) -> None:
    """Which slots stay was decided on all of them."""
    before, now_ms = await free(store)
    change = windows.change_limits(before, 1, 60_000, deployed=False)
    assert change
    after = await changed(store, take(before, now_ms).change)
    assert await store.apply(change) == Conflict(after)


async def test_a_hundred_slots_can_be_replaced(store: WindowStore) -> None:
    """The largest limit fits one expression."""
    window = await written(
        store, windows.change_limits((await store.read()).window, 100, 60_000, deployed=False)
    )
    window = await written(store, windows.change_limits(window, 99, 60_000, deployed=False))
    assert len((await store.read()).window.slots) == 99


async def test_a_suspicion_comes_and_goes(store: WindowStore) -> None:
    """Each change lands once."""
    before = await store.read()
    suspect = key_guard.suspect(before.key, before.window, NOW_MS, NOW_MS)
    gate = await changed(store, suspect)
    assert suspect
    assert await store.apply(suspect) == Conflict(gate)
    good = key_guard.learn(gate.key, gate.window, Meaning.WELCOME, NOW_MS + 1, NOW_MS + 300)
    gate = await changed(store, good)
    assert (gate.key.suspected, gate.key.probe_at_ms) == (False, 0)


async def test_hints_flags_and_blocks(store: WindowStore) -> None:
    """Every kind of field is read as it was written."""
    window, _ = await free(store)
    window = await written(store, windows.write_fields(window, paused=True, slow_probe_at_ms=7))
    change = windows.block(window, NOW_MS - 9, NOW_MS)
    assert change
    gate = await changed(store, replace(change, latencies_ms=(310,)))
    assert gate == missing().having((310,), paused=True, slow_probe_at_ms=7, **(change.values))
    assert await store.read() == gate


async def test_counts_of_callers_come_and_go(store: WindowStore) -> None:
    """Whatever a caller is called: counted up and down without a condition, removed on condition."""
    gate, name = await store.read(), field_of("alice.b#c")
    up = Change(gate.window.limits.version, increments={name: 1})
    gate = await changed(store, up)
    gate = await changed(store, up)
    assert gate.waiting == {"alice.b#c": 2}
    assert await store.read() == gate
    gone = Change(gate.window.limits.version, expected={name: 1}, values={name: ""})
    assert await store.apply(gone) == Conflict(gate)
    gate = await changed(store, replace(gone, expected={name: 2}))
    assert gate.waiting == {}


async def test_one_of_many_wakes_the_processor(store: WindowStore) -> None:
    """A write that expects the value that is there lands once."""
    gate = await store.read()
    counts = {field_of("alice.b#c"): 1}
    wake = hints.announce(gate.hints, gate.window, NOW_MS, at_ms=NOW_MS + 5_000, counts=counts)
    assert wake
    after = await changed(store, wake)
    assert await store.apply(wake) == Conflict(after)


@pytest.mark.parametrize("kind", [OldDynamo, RepeatingDynamo])
async def test_a_repeated_take_that_had_landed_is_granted(dynamo: Any, kind: Callable[[Any], Any]) -> None:
    """The repeat fails its own condition; the holder that it finds is itself: one slot, one permit."""
    await DynamoWindowStore(dynamo, TABLE, missing).create(Gate(windows.empty(LIMITS)))
    store = DynamoWindowStore(kind(dynamo), TABLE, missing)
    lease = await Slots(store, SystemClock(), SystemRandomness(), TIMING).take(Kind.FRESH, 30_000)
    assert isinstance(lease, Lease)
    assert [slot.holder for slot in (await store.read()).window.slots] == [lease.permit.id, "", ""]


async def test_an_item_of_an_older_version_has_the_defaults(dynamo: Any) -> None:
    """Fields that it lacks can be expected and written."""
    old = {name: value for name, value in encode(missing()).items() if name != "blocked_until_ms"}
    dynamo.put_item(TableName=TABLE, Item=old)
    store = DynamoWindowStore(dynamo, TABLE, missing)
    assert (await written(store, windows.block((await store.read()).window, 4, 5))).blocked_until_ms == 5


UNREADABLE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no slots": lambda item: item.pop("slots"),
    "a slot is missing": lambda item: item["slots"]["M"].pop("1"),
    "a slot too many": lambda item: item["slots"]["M"].update({"3": item["slots"]["M"]["0"]}),
    "a slot that is free at no time": lambda item: item["slots"]["M"]["1"]["M"].pop("f"),
    "a limit out of range": lambda item: item.update(calls={"N": "1000"}),
    "a limit that is no number": lambda item: item.update(calls={"S": "ten"}),
}


@pytest.mark.parametrize("spoil", UNREADABLE.values(), ids=UNREADABLE)
async def test_an_unreadable_window_grants_nothing(
    dynamo: Any, spoil: Callable[[dict[str, Any]], Any]
) -> None:
    """Fail closed: no window, no upstream call."""
    item = encode(Gate(windows.empty(LIMITS)))
    spoil(item)
    dynamo.put_item(TableName=TABLE, Item=item)
    store = DynamoWindowStore(dynamo, TABLE, missing)
    with pytest.raises(Unavailable):
        await store.read()
    with pytest.raises(Unavailable):
        await Slots(store, SystemClock(), SystemRandomness(), TIMING).take(Kind.FRESH, 30_000)


async def test_without_a_table_there_is_no_window(dynamo: Any) -> None:
    """The dependency's own error becomes ours."""
    with pytest.raises(Unavailable):
        await DynamoWindowStore(dynamo, "another", missing).read()


async def test_created_once_and_overwritten_on_purpose(dynamo: Any) -> None:
    """Two who find no window make one; only the local stack's start replaces one."""
    store = DynamoWindowStore(dynamo, TABLE, missing)
    assert await store.create(missing())
    assert not await store.create(Gate(windows.empty(LIMITS)))
    assert await store.read() == missing()
    await store.overwrite(Gate(windows.empty(LIMITS)))
    assert await store.read() == Gate(windows.empty(LIMITS))


async def test_open_requests_are_counted_by_caller(store: WindowStore) -> None:
    """Counts go up and down without a condition; a caller's count is removed only if it is still that one."""
    window = (await store.read()).window
    for client, number in (("alice", 2), ("bob", 1), ("alice", -2)):
        await store.apply(Change(window.limits.version, increments={open_field_of(client): number}))
    assert (await store.read()).open_requests == {"alice": 0, "bob": 1}
    name = open_field_of("alice")
    for expected in (1, 0):
        await store.apply(Change(window.limits.version, expected={name: expected}, values={name: ""}))
        assert ("alice" in (await store.read()).open_requests) is (expected == 1)


def size_bytes(value: Any) -> int:
    """Return an item's or a value's size by DynamoDB's published rules."""
    (kind, content), *rest = value.items()
    if rest or kind not in {"S", "N", "BOOL", "M", "L"}:
        return sum(len(name) + size_bytes(each) for name, each in value.items())
    if kind == "N":
        return ceil(len(content.strip("-").rstrip("0")) / 2) + 1
    if kind == "M":
        return 3 + sum(len(name) + size_bytes(each) + 1 for name, each in content.items())
    if kind == "L":
        return 3 + sum(size_bytes(each) + 1 for each in content)
    return 1 if kind == "BOOL" else len(content.encode())


@pytest.mark.parametrize(("calls", "expected_units"), [(10, 1), (50, 3), (100, 5)])
def test_a_write_costs_what_the_docstring_says(calls: int, expected_units: int) -> None:
    """One write unit for each KB of the whole item, with every field in use."""
    slots = tuple(Slot(NOW_MS + 102_251 + index, "0123456789abcdef", Kind.FRESH) for index in range(calls))
    gate = Gate(Window(Limits(calls, 86_400_000, version=12), slots)).having(
        (12_345,) * 8,
        blocked_until_ms=NOW_MS + 1,
        served="alice",
        old_retry_last=True,
        wake_at_ms=NOW_MS + 1,
        blocked_from_ms=NOW_MS,
        block_probe_at_ms=NOW_MS + 1,
        suspect_since_ms=NOW_MS,
        probe_at_ms=NOW_MS + 1,
        key_good_ms=NOW_MS,
        key_blocked_ms=123_456_789,
        slow_probe_at_ms=NOW_MS + 1,
        tightened_until_ms=NOW_MS + 1,
        deployed=f"{calls}/86400000",
        paused=True,
        paused_by="o" * 20,
        paused_at_ms=NOW_MS + 1,
        **dict.fromkeys(("signed", "at_once", "failed", "unanswered", "refused", "limited"), 12_345_678),
        failing_calls=1_234,
        failing_since_ms=NOW_MS + 1,
        error="http_502",
        error_at_ms=NOW_MS + 1,
    )
    assert ceil(size_bytes(encode(gate)) / WRITE_UNIT_BYTES) == expected_units
