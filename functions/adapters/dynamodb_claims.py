"""Idempotency keys as DynamoDB items: `PK=CLAIM#<id>  SK=CLAIM`. TTL deletes them after a day."""

import json
from typing import Any

from botocore.exceptions import ClientError

from adapters.aws import in_thread
from adapters.items import Item
from core.claim import Claim, Reply

CONDITION_FAILED = frozenset({"ConditionalCheckFailedException"})
FREE = "attribute_not_exists(PK) OR expires_ms <= :now"
UNCHANGED = "claimed_ms = :claimed AND attribute_not_exists(reply)"


class DynamoClaimStore:
    """A `ports.ClaimStore` on a boto3 DynamoDB client."""

    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self._table = table

    async def take(self, claim: Claim) -> Claim:
        """Store a claim unless its key is held; return what is stored then."""
        held = await self._put(claim, FREE, {":now": {"N": str(claim.claimed_ms)}})
        return _decode(held) if held else claim

    async def write(self, before: Claim, after: Claim) -> bool:
        """Write a claim if the stored one is still `before`, without a reply; say whether it was."""
        return not await self._put(after, UNCHANGED, {":claimed": {"N": str(before.claimed_ms)}})

    async def _put(self, claim: Claim, condition: str, values: Item) -> Item | None:
        """Put an item on a condition; return the stored item if the condition fails."""
        try:
            await in_thread(
                self._client.put_item,
                keep=CONDITION_FAILED,
                TableName=self._table,
                Item=_encode(claim),
                ConditionExpression=condition,
                ExpressionAttributeValues=values,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            held: Any = error.response["Item"]  # type: ignore[typeddict-item]
            return dict(held)
        return None


def _encode(claim: Claim) -> Item:
    reply = claim.reply
    return {
        "PK": {"S": f"CLAIM#{claim.id}"},
        "SK": {"S": "CLAIM"},
        "parameters": {"S": claim.parameters},
        "request_id": {"S": claim.request_id},
        "claimed_ms": {"N": str(claim.claimed_ms)},
        "expires_ms": {"N": str(claim.expires_ms)},
        "expires_s": {"N": str(claim.expires_ms // 1000)},
        **({"reply": {"S": json.dumps([reply.status, reply.headers, reply.body])}} if reply else {}),
    }


def _decode(item: Item) -> Claim:
    reply = None
    if "reply" in item:
        status, headers, body = json.loads(item["reply"]["S"])
        reply = Reply(status, tuple((name, value) for name, value in headers), body)
    return Claim(
        item["PK"]["S"].removeprefix("CLAIM#"),
        item["parameters"]["S"],
        item["request_id"]["S"],
        int(item["claimed_ms"]["N"]),
        int(item["expires_ms"]["N"]),
        reply,
    )
