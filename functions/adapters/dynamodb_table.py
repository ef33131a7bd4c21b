"""What all stores do with their DynamoDB table: read an item, and put one on a condition."""

from typing import Any
from uuid import uuid4

from botocore.exceptions import ClientError

from adapters.aws import in_thread
from adapters.items import Item

CONDITION_FAILED = frozenset({"ConditionalCheckFailedException"})
CONFLICTS = CONDITION_FAILED | {"TransactionConflictException"}
"""A put also fails while a transaction writes the item: then what is stored is read, and decided on again."""
ABSENT = "attribute_not_exists(PK)"
UNCHANGED = "revision = :revision"


class DynamoTable:
    """A table of a boto3 DynamoDB client."""

    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self._table = table

    async def _get(self, key: Item) -> Item | None:
        """Return an item, strongly consistent."""
        answer = await in_thread(self._client.get_item, TableName=self._table, Key=key, ConsistentRead=True)
        item: Item | None = answer.get("Item")
        return item

    async def _put(self, item: Item, condition: str, values: Item | None = None) -> Item | None:
        """Put an item conditionally: None if it landed, else what is stored ({} if it did not come back)."""
        try:
            await in_thread(
                self._client.put_item,
                keep=CONFLICTS,
                TableName=self._table,
                Item=item,
                ConditionExpression=condition,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **({"ExpressionAttributeValues": values} if values else {}),
            )
        except ClientError as error:
            stored: Item = dict(error.response).get("Item", {})  # type: ignore[assignment]
            return stored
        return None

    async def _put_next(self, item: Item, revision: str) -> Item | None:
        """Put an item if the stored one has this revision; if it is empty, if there is none."""
        if not revision:
            return await self._put(item, ABSENT)
        return await self._put(item, UNCHANGED, {":revision": {"S": revision}})


def new_revision() -> str:
    """Return a revision that no other write has."""
    return uuid4().hex[:16]
