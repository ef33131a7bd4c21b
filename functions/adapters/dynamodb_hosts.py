"""Receivers' shared state in the signing table, beside the jobs.

    PK=HOST#<host>:<port>  SK=HOST

Every write replaces the whole item on condition that its `revision` is the one that was read.
"""

from dataclasses import replace
from typing import Any
from uuid import uuid4

from botocore.exceptions import ClientError

from adapters import items
from adapters.aws import in_thread
from adapters.items import Item
from core.circuit import Host, Lease
from ports import Conflict, Written

UNCHANGED = "revision = :revision"
ABSENT = "attribute_not_exists(PK)"
CONDITION_FAILED = frozenset({"ConditionalCheckFailedException"})


class DynamoHostStore:
    """A `ports.HostStore` on a boto3 DynamoDB client."""

    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self._table = table

    async def host(self, name: str) -> Host:
        """Return the host; one that is not stored has nothing in flight and no failures."""
        answer = await in_thread(
            self._client.get_item, TableName=self._table, Key=_key(name), ConsistentRead=True
        )
        return _decode(name, answer.get("Item", {}))

    async def write_host(self, before: Host, after: Host) -> Written[Host] | Conflict[Host]:
        """Write a host if the stored one is still `before`."""
        after = replace(after, revision=uuid4().hex[:16])
        try:
            await in_thread(
                self._client.put_item,
                keep=CONDITION_FAILED,
                TableName=self._table,
                Item=_encode(after),
                **_still(before),
            )
        except ClientError:
            stored = await self.host(after.name)
            # A repeated write of one that had landed fails its own condition.
            return Written(after) if stored.revision == after.revision else Conflict(stored)
        return Written(after)


def _key(name: str) -> Item:
    return {"PK": {"S": f"HOST#{name}"}, "SK": {"S": "HOST"}}


def _still(before: Host) -> dict[str, Any]:
    if not before.revision:
        return {"ConditionExpression": ABSENT}
    return {
        "ConditionExpression": UNCHANGED,
        "ExpressionAttributeValues": {":revision": {"S": before.revision}},
    }


def _encode(host: Host) -> Item:
    leases = {lease.id: items.attribute(lease.started_ms) for lease in host.leases}
    return {
        **_key(host.name),
        **items.encode(host),
        "leases": {"M": leases},
        "expires_s": {"N": str(host.expires_ms // 1000)},
    }


def _decode(name: str, item: Item) -> Host:
    host: Host = items.decode(Host, {"name": {"S": name}, **item}, {})
    leases = item.get("leases", {"M": {}})["M"]
    started = sorted((int(value["N"]), lease_id) for lease_id, value in leases.items())
    return replace(host, leases=tuple(Lease(lease_id, started_ms) for started_ms, lease_id in started))
