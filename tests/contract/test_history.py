"""What every `History` promises, in memory and over DynamoDB's protocol."""

from typing import Any

import pytest

from adapters.dynamodb_history import DynamoHistory
from core.history import KEPT_MS, Minute
from ports import History
from tests.fakes.memory import MemoryHistory

NOW_MS = 1_800_000_000_000


@pytest.fixture(params=["memory", "dynamodb"])
def items(request: pytest.FixtureRequest, client: Any, table: str) -> History:
    return MemoryHistory() if request.param == "memory" else DynamoHistory(client, table)


async def test_items_come_back_in_order(items: History) -> None:
    """From a moment on, oldest first, as they were written; the newest alone too."""
    assert await items.last(NOW_MS) is None
    minutes = [Minute(NOW_MS + 60_000 * number, signed=number, state="healthy") for number in range(3)]
    for minute in reversed(minutes):
        await items.write(minute)
    assert await items.since(0) == minutes
    assert await items.since(NOW_MS + 1) == minutes[1:]
    assert await items.since(NOW_MS + 180_000) == []
    assert await items.last(NOW_MS + 120_000) == minutes[-1]
    assert await items.last(NOW_MS + 119_999) == minutes[-2]  # one of the future is not believed


async def test_an_item_goes_after_two_weeks_and_a_spoilt_one_is_passed_over(client: Any, table: str) -> None:
    """TTL takes it; one that a newer version wrote hides no other."""
    items = DynamoHistory(client, table)
    await items.write(Minute(NOW_MS))
    (row,) = client.scan(TableName=table)["Items"]
    assert int(row["expires_s"]["N"]) == (NOW_MS + KEPT_MS) // 1000
    spoilt = {name: value for name, value in row.items() if name != "at_ms"}
    client.put_item(TableName=table, Item={**spoilt, "SK": {"S": "1800000000001"}})
    assert await items.since(0) == [Minute(NOW_MS)]
