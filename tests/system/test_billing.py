"""The units that the costs are counted in are those that an independent reading of AWS's rules comes to."""

from typing import Any

import pytest

from benchmarks.billing import Ledger, Units
from tests.system.stack import RunningStack

pytestmark = pytest.mark.integration

KEY = {"PK": {"S": "BILLED"}, "SK": {"S": "JOB"}}
WAITING = {"due_kind": {"S": "billed"}, "due_ms": {"N": "1731234567891"}, "state": {"S": "waiting"}}
RETRYING = {**WAITING, "due_ms": {"N": "1731234567899"}}
LONG = {"message": {"S": "m" * 1_100}}
POINTER = {"PK": {"S": "BILLED POINTER"}, "SK": {"S": "REQ"}}


def billed(answer: dict[str, Any]) -> Units:
    """Return what the emulator says that it consumed, over all tables named."""
    consumed = answer["ConsumedCapacity"]
    rows = consumed if isinstance(consumed, list) else [consumed]
    index = sum(row.get("GlobalSecondaryIndexes", {}).get("due", {}).get("CapacityUnits", 0) for row in rows)
    return Units(write=sum(row["CapacityUnits"] for row in rows) - index, index=index)


def test_writes_are_billed_as_the_emulator_bills_them(stack: RunningStack) -> None:
    """It was measured against DynamoDB itself; only its reads go by count instead of by size."""
    client, table = stack.session.client("dynamodb"), stack.resources["SigningTable"]
    pointer = {"Put": {"TableName": table, "Item": POINTER}}
    accepted = {"Put": {"TableName": table, "Item": {**KEY, **WAITING}}}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("TransactWriteItems", {"TransactItems": [accepted, pointer]}),
        ("PutItem", {"TableName": table, "Item": {**KEY, **RETRYING}}),
        ("PutItem", {"TableName": table, "Item": {**KEY, **RETRYING, **LONG}}),
        ("PutItem", {"TableName": table, "Item": KEY}),
        ("DeleteItem", {"TableName": table, "Key": KEY}),
        ("DeleteItem", {"TableName": table, "Key": {"PK": POINTER["PK"], "SK": POINTER["SK"]}}),
    ]
    ledger, methods = Ledger(), client.meta.method_to_api_mapping
    names = {operation: method for method, operation in methods.items()}
    for operation, asked in calls:
        answer = getattr(client, names[operation])(**asked, ReturnConsumedCapacity="INDEXES")
        assert billed(answer) == ledger.charge(operation, asked, answer, done=True), (operation, asked)
