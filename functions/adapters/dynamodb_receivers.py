"""The records of receivers and places, which all notifiers share, in the signing table.

    PK=RECEIVER#<caller> <url>   SK=RECEIVER    the circuit of a caller's URL
    PK=INFLIGHT#<host>:<port>    SK=INFLIGHT    the places of a host, or of an address

Every write replaces the whole item on condition that its `revision` is the one that was read.
"""

from dataclasses import replace
from typing import Any
from uuid import uuid4

from botocore.exceptions import ClientError

from adapters import items
from adapters.aws import in_thread
from adapters.items import Item
from core.circuit import Receiver
from core.errors import Unavailable
from core.in_flight import InFlight, Lease
from ports import Conflict, Written

UNCHANGED = "revision = :revision"
ABSENT = "attribute_not_exists(PK)"
CONDITION_FAILED = frozenset({"ConditionalCheckFailedException"})
RECEIVER, IN_FLIGHT = "RECEIVER", "INFLIGHT"


class DynamoReceiverStore:
    """A `ports.ReceiverStore` on a boto3 DynamoDB client."""

    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self._table = table

    async def receiver(self, name: str) -> Receiver:
        """Return the receiver; one that is not stored was never tried."""
        item = await self._read(RECEIVER, name)
        found: Receiver = items.decode(Receiver, {"name": {"S": name}, **item})
        return found

    async def write_receiver(
        self, before: Receiver, after: Receiver
    ) -> Written[Receiver] | Conflict[Receiver]:
        """Write a receiver if the stored one is still `before`."""
        after = replace(after, revision=_revision())
        if await self._landed(RECEIVER, before.revision, after, items.encode(after)):
            return Written(after)
        stored = await self.receiver(after.name)
        # If the SDK repeats a write that already landed, its condition fails.
        return Written(after) if stored.revision == after.revision else Conflict(stored)

    async def in_flight(self, name: str) -> InFlight:
        """Return the taken places; none is taken if nothing is stored."""
        item = await self._read(IN_FLIGHT, name)
        found: InFlight = items.decode(InFlight, {"name": {"S": name}, **_without_leases(item)})
        return replace(found, leases=_decode_leases(item))

    async def write_in_flight(
        self, before: InFlight, after: InFlight
    ) -> Written[InFlight] | Conflict[InFlight]:
        """Write places if the stored ones are still `before`."""
        after = replace(after, revision=_revision())
        leases = {"L": [{"M": items.encode(lease)} for lease in after.leases]}
        if await self._landed(IN_FLIGHT, before.revision, after, {**items.encode(after), "leases": leases}):
            return Written(after)
        stored = await self.in_flight(after.name)
        return Written(after) if stored.revision == after.revision else Conflict(stored)

    async def _read(self, kind: str, name: str) -> Item:
        answer = await in_thread(
            self._client.get_item, TableName=self._table, Key=_key(kind, name), ConsistentRead=True
        )
        item: Item = answer.get("Item", {})
        return item

    async def _landed(
        self, kind: str, revision_before: str, after: Receiver | InFlight, attributes: Item
    ) -> bool:
        """Write an item if it has the revision that was read; say whether it had."""
        try:
            await in_thread(
                self._client.put_item,
                keep=CONDITION_FAILED,
                TableName=self._table,
                Item={
                    **_key(kind, after.name),
                    **attributes,
                    "expires_s": {"N": str(after.expires_ms // 1000)},
                },
                **_still(revision_before),
            )
        except ClientError:
            return False
        return True


def _revision() -> str:
    return uuid4().hex[:16]


def _key(kind: str, name: str) -> Item:
    return {"PK": {"S": f"{kind}#{name}"}, "SK": {"S": kind}}


def _still(revision: str) -> dict[str, Any]:
    if not revision:
        return {"ConditionExpression": ABSENT}
    return {
        "ConditionExpression": UNCHANGED,
        "ExpressionAttributeValues": {":revision": {"S": revision}},
    }


def _without_leases(item: Item) -> Item:
    return {name: value for name, value in item.items() if name != "leases"}


def _decode_leases(item: Item) -> tuple[Lease, ...]:
    try:
        stored = item["leases"]["L"] if "leases" in item else []
        return tuple(items.decode(Lease, lease["M"]) for lease in stored)
    except (KeyError, TypeError) as error:
        raise Unavailable("the leases can't be read") from error
