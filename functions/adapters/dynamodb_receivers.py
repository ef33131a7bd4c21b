"""The records of receivers and places, which all notifiers share, in the signing table.

    PK=RECEIVER#<caller> <url>   SK=RECEIVER    the circuit of a caller's URL
    PK=INFLIGHT#<host>:<port>    SK=INFLIGHT    the places of a host, or of an address

Every write replaces the whole item on condition that its `revision` is the one that was read.
"""

from dataclasses import replace

from adapters import items
from adapters.dynamodb_table import DynamoTable, new_revision
from adapters.items import Item
from core.circuit import Receiver
from core.errors import Unavailable
from core.in_flight import InFlight, Lease
from ports import Conflict, Written

RECEIVER, IN_FLIGHT = "RECEIVER", "INFLIGHT"


class DynamoReceiverStore(DynamoTable):
    """A `ports.ReceiverStore` on a boto3 DynamoDB client."""

    async def receiver(self, name: str) -> Receiver:
        """Return the receiver; one that is not stored was never tried."""
        item = await self._get(_key(RECEIVER, name)) or {}
        found: Receiver = items.decode(Receiver, {"name": {"S": name}, **item})
        return found

    async def write_receiver(
        self, before: Receiver, after: Receiver
    ) -> Written[Receiver] | Conflict[Receiver]:
        """Write a receiver if the stored one is still `before`."""
        after = replace(after, revision=new_revision())
        if await self._landed(RECEIVER, before, after, {}):
            return Written(after)
        stored = await self.receiver(after.name)
        # If the SDK repeats a write that already landed, its condition fails.
        return Written(after) if stored.revision == after.revision else Conflict(stored)

    async def in_flight(self, name: str) -> InFlight:
        """Return the taken places; none is taken if nothing is stored."""
        item = await self._get(_key(IN_FLIGHT, name)) or {}
        found: InFlight = items.decode(InFlight, {"name": {"S": name}, **item})
        return replace(found, leases=_decode_leases(item))

    async def write_in_flight(
        self, before: InFlight, after: InFlight
    ) -> Written[InFlight] | Conflict[InFlight]:
        """Write places if the stored ones are still `before`."""
        after = replace(after, revision=new_revision())
        leases = {"L": [{"M": items.encode(lease)} for lease in after.leases]}
        if await self._landed(IN_FLIGHT, before, after, {"leases": leases}):
            return Written(after)
        stored = await self.in_flight(after.name)
        return Written(after) if stored.revision == after.revision else Conflict(stored)

    async def _landed(
        self, kind: str, before: Receiver | InFlight, after: Receiver | InFlight, more: Item
    ) -> bool:
        """Write an item if it is still `before`; say whether it was."""
        expires_s = {"expires_s": items.attribute(after.expires_ms // 1000)}
        item = {**_key(kind, after.name), **items.encode(after), **more, **expires_s}
        return await self._put_next(item, before.revision) is None


def _key(kind: str, name: str) -> Item:
    return {"PK": {"S": f"{kind}#{name}"}, "SK": {"S": kind}}


def _decode_leases(item: Item) -> tuple[Lease, ...]:
    try:
        stored = item["leases"]["L"] if "leases" in item else []
        return tuple(items.decode(Lease, lease["M"]) for lease in stored)
    except (KeyError, TypeError) as error:
        raise Unavailable("the leases can't be read") from error
