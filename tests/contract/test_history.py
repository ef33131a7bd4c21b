"""What every `History` promises, in memory and over DynamoDB's protocol."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from adapters.dynamodb_history import DynamoHistory
from core.history import KEPT_MS, Minute
from ports import History
from tests.fakes.memory import MemoryHistory

TABLE = "signing"
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
def items(request: pytest.FixtureRequest, dynamodb: Any) -> History:
    return MemoryHistory() if request.param == "memory" else DynamoHistory(dynamodb, TABLE)


async def test_items_come_back_in_order(items: History) -> None:
    """From a moment on, oldest first, as they were written; the newest alone too."""
    assert await items.last() is None
    minutes = [Minute(NOW_MS + 60_000 * number, signed=number, state="healthy") for number in range(3)]
    for minute in reversed(minutes):
        await items.write(minute)
    assert await items.since(0) == minutes
    assert await items.since(NOW_MS + 1) == minutes[1:]
    assert await items.since(NOW_MS + 180_000) == []
    assert await items.last() == minutes[-1]


async def test_an_item_goes_after_two_weeks_and_a_spoilt_one_is_passed_over(dynamodb: Any) -> None:
    """TTL takes it; one that a newer version wrote hides no other."""
    items = DynamoHistory(dynamodb, TABLE)
    await items.write(Minute(NOW_MS))
    (row,) = dynamodb.scan(TableName=TABLE)["Items"]
    assert int(row["expires_s"]["N"]) == (NOW_MS + KEPT_MS) // 1000
    spoilt = {name: value for name, value in row.items() if name != "at_ms"}
    dynamodb.put_item(TableName=TABLE, Item={**spoilt, "SK": {"S": "1800000000001"}})
    assert await items.since(0) == [Minute(NOW_MS)]
