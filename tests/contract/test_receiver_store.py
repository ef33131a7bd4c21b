"""What every `ReceiverStore` promises, in memory and over DynamoDB's protocol."""

from dataclasses import replace
from typing import Any

import pytest

from adapters.dynamodb_receivers import DynamoReceiverStore
from core.circuit import Health, Receiver, after_attempt
from core.in_flight import InFlight, Lease, occupy, vacate
from ports import Conflict, ReceiverStore, Written
from tests.fakes.memory import MemoryReceiverStore

NAME = "receiver.example:443"
NOW_MS = 1_800_000_000_000


@pytest.fixture(params=["memory", "dynamodb"])
def store(request: pytest.FixtureRequest, client: Any, table: str) -> ReceiverStore:
    return MemoryReceiverStore() if request.param == "memory" else DynamoReceiverStore(client, table)


async def with_one_in_flight(store: ReceiverStore) -> InFlight:
    before = await store.in_flight(NAME)
    after = occupy(before, Lease("lease-1", "alice", "alice https://x", NOW_MS), 1)
    assert after
    written = await store.write_in_flight(before, after)
    assert isinstance(written, Written)
    return written.record


async def with_one_failure(store: ReceiverStore) -> Receiver:
    before = await store.receiver(NAME)
    written = await store.write_receiver(before, after_attempt(before, Health.BAD, NOW_MS))
    assert isinstance(written, Written)
    return written.record


async def test_what_is_not_stored_is_as_good_as_new(store: ReceiverStore) -> None:
    """No place taken and no failure, so that nothing has to be set up."""
    assert await store.in_flight(NAME) == InFlight(NAME)
    assert await store.receiver(NAME) == Receiver(NAME)


async def test_what_is_written_is_read(store: ReceiverStore) -> None:
    """Leases and figures come back as they were, with the revision that the write returned."""
    places, receiver = await with_one_in_flight(store), await with_one_failure(store)
    assert await store.in_flight(NAME) == places
    assert await store.receiver(NAME) == receiver


async def test_leases_go_when_they_are_given_back(store: ReceiverStore) -> None:
    """An empty list of leases comes back too."""
    places = await with_one_in_flight(store)
    after = vacate(places, "lease-1")
    assert after
    written = await store.write_in_flight(places, after)
    assert isinstance(written, Written)
    assert await store.in_flight(NAME) == written.record
    assert written.record.leases == ()


async def test_an_answer_makes_a_receiver_good(store: ReceiverStore) -> None:
    """Flags come back as they were."""
    before = await with_one_failure(store)
    written = await store.write_receiver(before, after_attempt(before, Health.GOOD, NOW_MS))
    assert isinstance(written, Written)
    stored = await store.receiver(NAME)
    assert (stored.answered, stored.failures) == (True, 0)


async def test_of_two_writers_one_wins(store: ReceiverStore) -> None:
    """The other one is told what is stored now."""
    places, receiver = await with_one_in_flight(store), await with_one_failure(store)
    winner = await store.write_in_flight(places, replace(places, leases=()))
    assert isinstance(winner, Written)
    assert await store.write_in_flight(places, places) == Conflict(winner.record)
    assert await store.write_in_flight(InFlight(NAME), places) == Conflict(winner.record)
    good = await store.write_receiver(receiver, after_attempt(receiver, Health.GOOD, NOW_MS))
    assert isinstance(good, Written)
    assert await store.write_receiver(receiver, receiver) == Conflict(good.record)


async def test_receivers_do_not_meet(store: ReceiverStore) -> None:
    """Each has a state of its own."""
    await with_one_in_flight(store)
    await with_one_failure(store)
    assert await store.in_flight("other.example:443") == InFlight("other.example:443")
    assert await store.receiver("other") == Receiver("other")


async def test_the_items_expire(client: Any, table: str) -> None:
    """What nobody calls any more is swept up by the table's expiry, in seconds."""
    store = DynamoReceiverStore(client, table)
    await with_one_in_flight(store)
    await with_one_failure(store)
    items = client.scan(TableName=table)["Items"]
    assert [item["expires_s"] for item in items] == [{"N": str(NOW_MS // 1000 + 3_600)}] * 2
