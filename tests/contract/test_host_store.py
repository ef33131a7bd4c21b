"""What every `HostStore` promises, in memory and over DynamoDB's protocol."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from adapters.dynamodb_hosts import DynamoHostStore
from core.circuit import Health, Host, admit, release
from ports import Conflict, HostStore, Written
from tests.fakes.memory import MemoryHostStore

TABLE = "signing"
NAME = "receiver.example:443"
NOW_MS = 1_800_000_000_000


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("dynamodb", region_name="eu-central-1")
        client.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[
                {"AttributeName": "PK", "KeyType": "HASH"},
                {"AttributeName": "SK", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "PK", "AttributeType": "S"},
                {"AttributeName": "SK", "AttributeType": "S"},
            ],
        )
        yield client


@pytest.fixture(params=["memory", "dynamodb"])
def store(request: pytest.FixtureRequest) -> HostStore:
    if request.param == "memory":
        return MemoryHostStore()
    return DynamoHostStore(request.getfixturevalue("dynamodb"), TABLE)


async def with_one_in_flight(store: HostStore) -> Host:
    host = admit(await store.host(NAME), "lease-1", NOW_MS, 0.0)
    assert isinstance(host, Host)
    written = await store.write_host(await store.host(NAME), host)
    assert isinstance(written, Written)
    return written.record


async def test_a_host_that_is_not_stored_is_as_good_as_new(store: HostStore) -> None:
    """Nothing in flight and no failures, so that nothing has to be set up."""
    assert await store.host(NAME) == Host(NAME)


async def test_what_is_written_is_read(store: HostStore) -> None:
    """Leases and figures come back as they were, with the revision that the write returned."""
    written = await with_one_in_flight(store)
    assert await store.host(NAME) == written


async def test_leases_go_when_they_are_released(store: HostStore) -> None:
    """An empty set of leases, and zeros, come back too."""
    host = await with_one_in_flight(store)
    written = await store.write_host(host, release(host, "lease-1", Health.GOOD, NOW_MS))
    assert isinstance(written, Written)
    assert await store.host(NAME) == written.record
    assert written.record.leases == ()


async def test_of_two_writers_one_wins(store: HostStore) -> None:
    """The other one is told what is stored now."""
    host = await with_one_in_flight(store)
    winner = await store.write_host(host, release(host, "lease-1", Health.BAD, NOW_MS))
    loser = await store.write_host(host, release(host, "lease-1", Health.GOOD, NOW_MS))
    assert isinstance(winner, Written)
    assert loser == Conflict(winner.record)
    assert await store.write_host(Host(NAME), host) == Conflict(winner.record)


async def test_hosts_do_not_meet(store: HostStore) -> None:
    """Each receiver has a state of its own."""
    await with_one_in_flight(store)
    assert await store.host("other.example:443") == Host("other.example:443")


async def test_the_item_expires(dynamodb: Any) -> None:
    """A receiver that nobody calls any more is swept up by the table's expiry, in seconds."""
    await with_one_in_flight(DynamoHostStore(dynamodb, TABLE))
    (item,) = dynamodb.scan(TableName=TABLE)["Items"]
    assert item["expires_s"] == {"N": str(NOW_MS // 1000 + 3_600)}
