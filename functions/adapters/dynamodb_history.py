"""The history of the service: one item a minute in the signing table. TTL deletes old items.

PK=HISTORY  SK=<milliseconds, 13 digits>
"""

from typing import Any

from adapters import items
from adapters.aws import in_thread
from adapters.dynamodb_table import DynamoTable
from adapters.items import Item
from core.errors import Unavailable
from core.history import KEPT_MS, Minute

PARTITION = {"S": "HISTORY"}


class DynamoHistory(DynamoTable):
    """A `ports.History` on a boto3 DynamoDB client."""

    async def write(self, minute: Minute) -> None:
        """Store an item."""
        expires_s = (minute.at_ms + KEPT_MS) // 1000
        item = {**_key(minute.at_ms), **items.encode(minute), "expires_s": items.attribute(expires_s)}
        await in_thread(self._client.put_item, TableName=self._table, Item=item)

    async def since(self, at_ms: int) -> list[Minute]:
        """Return the items from then on; one that can't be read is left out."""
        rows: list[Item] = []
        start: dict[str, Any] = {}
        while True:
            answer = await in_thread(
                self._client.query,
                TableName=self._table,
                KeyConditionExpression="PK = :pk AND SK >= :since",
                ExpressionAttributeValues={":pk": PARTITION, ":since": _key(at_ms)["SK"]},
                **start,
            )
            rows += answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return [minute for row in rows if (minute := _if_readable(row))]
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    async def last(self, until_ms: int) -> Minute | None:
        """Return the newest item up to then; None if there is none, or if it can't be read."""
        answer = await in_thread(
            self._client.query,
            TableName=self._table,
            KeyConditionExpression="PK = :pk AND SK <= :until",
            ExpressionAttributeValues={":pk": PARTITION, ":until": _key(until_ms)["SK"]},
            ScanIndexForward=False,
            Limit=1,
        )
        return next((minute for row in answer["Items"] if (minute := _if_readable(row))), None)


def _key(at_ms: int) -> Item:
    return {"PK": PARTITION, "SK": {"S": f"{at_ms:013}"}}


def _if_readable(row: Item) -> Minute | None:
    try:
        minute: Minute = items.decode(Minute, row)
    except Unavailable:
        return None
    return minute
