"""Idempotency keys as DynamoDB items: `PK=CLAIM#<id>  SK=CLAIM`. TTL deletes them after a day."""

import json

from adapters.dynamodb_table import DynamoTable
from adapters.items import Item
from core.claim import Claim, Reply

FREE = "attribute_not_exists(PK) OR expires_ms <= :now"
UNCHANGED = "claimed_ms = :claimed AND attribute_not_exists(reply)"


class DynamoClaimStore(DynamoTable):
    """A `ports.ClaimStore` on a boto3 DynamoDB client."""

    async def take(self, claim: Claim) -> Claim:
        """Store a claim unless its key is held; return what is stored then."""
        held = await self._put(_encode(claim), FREE, {":now": {"N": str(claim.claimed_ms)}})
        return _decode(held) if held else claim

    async def write(self, before: Claim, after: Claim) -> bool:
        """Write a claim if the stored one is still `before`, without a reply; say whether it was."""
        claimed = {":claimed": {"N": str(before.claimed_ms)}}
        return await self._put(_encode(after), UNCHANGED, claimed) is None


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
