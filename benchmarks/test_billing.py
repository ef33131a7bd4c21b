"""The bill is right: sizes, units and dollars by AWS's published rules, in exact numbers."""

from typing import Any

import pytest

from benchmarks import billing
from benchmarks.billing import Bill, Ledger, Units
from benchmarks.cost_tables import Case, Usage, accepted_only, alarm_metrics, month, on_request, prices
from infra import ROOT


def row(size: Any = 0, **more: Any) -> dict[str, Any]:
    """Return an item of so many bytes at least."""
    item = {"PK": {"S": "a"}, "SK": {"S": "b"}, **more}
    fill = size - billing.item_bytes(item) - 1
    return {**item, "x": {"S": "x" * fill}} if fill >= 0 else item


DUE = {"due_kind": {"S": "fresh"}, "due_ms": {"N": "17"}}
LATER = {"due_kind": {"S": "fresh"}, "due_ms": {"N": "18"}}
OTHER_STATE = {**DUE, "state": {"S": "waiting"}}


@pytest.mark.parametrize(
    ("expected", "item"),
    [
        (3, {"a": {"S": "xy"}}),
        (3, {"a": {"S": "é"}}),
        (3, {"a": {"N": "17"}}),
        (4, {"a": {"N": "-17"}}),
        (3, {"a": {"N": "1700000000000"}}),
        (9, {"a": {"N": "1731234567891"}}),
        (2, {"a": {"BOOL": True}}),
        (1 + 3 + (1 + 1 + 2), {"a": {"M": {"b": {"N": "5"}}}}),
        (1 + 3 + 2 * (1 + 2), {"a": {"L": [{"N": "5"}, {"N": "6"}]}}),
    ],
)
def test_an_item_is_as_large_as_its_names_and_values(expected: int, item: dict[str, Any]) -> None:
    """Texts in UTF-8; numbers a byte for two digits and one more; maps and lists 3, and 1 an element."""
    assert expected == billing.item_bytes(item)


@pytest.mark.parametrize(
    ("expected", "sizes", "consistent"),
    [(1, [4096], True), (2, [4097], True), (0.5, [], False), (1, [2048, 2049], False), (1, [], True)],
)
def test_reads_go_by_4_kb(expected: float, sizes: list[int], consistent: bool) -> None:
    """What one request reads is added up, then rounded up; it is half as much where it may be stale."""
    assert Units(read=expected) == billing.read_units([row(size) for size in sizes], consistent=consistent)


@pytest.mark.parametrize(
    ("expected", "before", "after"),
    [
        (Units(write=1), None, row(1024)),
        (Units(write=2), None, row(1025)),
        (Units(write=3), row(2049), row(10)),
        (Units(write=1), row(10), None),
        (Units(write=1, index=1), None, row(**DUE)),
        (Units(write=1, index=1), row(**DUE), None),
        (Units(write=1, index=0), row(**DUE), row(500, **DUE)),
        (Units(write=1, index=1), row(**DUE), row(**OTHER_STATE)),
        (Units(write=1, index=2), row(**DUE), row(**LATER)),
    ],
)
def test_writes_go_by_1_kb_and_by_what_the_index_changes(expected: Units, before: Any, after: Any) -> None:
    """The larger of old and new; a row of the index that moves is two writes, one that stays none."""
    assert expected == billing.write_units(before, after)


def test_a_ledger_charges_a_write_by_what_it_replaces() -> None:
    """Twice in a transaction, but not for the index; as much where the condition fails, but no index."""
    ledger = Ledger()
    put = {"TableName": "t", "Item": row(1500, **DUE)}
    transaction = {"TransactItems": [{"Put": put}, {"Put": {"TableName": "t", "Item": {"PK": {"S": "p"}}}}]}
    charged = [
        ledger.charge("TransactWriteItems", transaction, {}, done=True),
        ledger.charge("PutItem", {"TableName": "t", "Item": row(10, **LATER)}, {}, done=False),
        ledger.charge("PutItem", {"TableName": "t", "Item": row(10, **LATER)}, {}, done=True),
        ledger.charge("DeleteItem", {"TableName": "t", "Key": row()}, {}, done=True),
        ledger.charge("DeleteItem", {"TableName": "t", "Key": row()}, {}, done=False),
        ledger.charge(
            "UpdateItem", {"TableName": "w", "Key": {"PK": {"S": "W"}}}, {"Attributes": row(1025)}, done=True
        ),
        ledger.charge("UpdateItem", {"TableName": "w", "Key": {"PK": {"S": "W"}}}, {}, done=False),
        ledger.charge("GetItem", {"ConsistentRead": True}, {"Item": row(4097)}, done=True),
        ledger.charge("Query", {}, {"Items": []}, done=True),
    ]
    assert charged == [
        Units(write=2 * (2 + 1), index=1),
        Units(write=2),
        Units(write=2, index=2),
        Units(write=1, index=1),
        Units(write=1),
        Units(write=2),
        Units(write=2),
        Units(read=2),
        Units(read=0.5),
    ]


@pytest.mark.parametrize(("expected", "size"), [(1, 0), (1, 65_536), (2, 65_537)])
def test_queue_requests_go_by_64_kb(expected: int, size: int) -> None:
    """A request without a payload is one too."""
    assert expected == billing.sqs_requests(size)


def case(requests: int, accepted: int, *, writes: int, billed_ms: int, notified: int = 0) -> Case:
    """Return what was counted: everything by the API, but the notifier's invocations."""
    api = Usage(
        units=Units(read=8, write=writes, index=2), invocations=requests, billed_ms=billed_ms, secrets=1
    )
    api.operations["PutItem"] = writes
    usage = {"api": api, "processor": Usage(), "notifier": Usage(invocations=notified)}
    return Case("some", requests, accepted, accepted, usage)


def test_dollars_follow_from_the_table_of_prices() -> None:
    """Each amount has its price; Lambda receives and deletes for the notifier, and logs on its own."""
    amounts = case(4, 0, writes=6, billed_ms=2_000, notified=1).amounts()
    assert amounts == {
        "API Gateway, REST requests": 4,
        "Lambda, invocations": 5,
        "Lambda, GB-seconds (x86_64)": 1.75,
        "DynamoDB, read units": 8,
        "DynamoDB, write units": 8,
        "SQS, standard requests": 2,
        "Secrets Manager, calls": 1,
        "CloudWatch, log bytes": 5 * 370,
    }
    bill = Bill.of(amounts, 1e6)
    assert {name: round(cost, 2) for name, cost in bill.rows.items()} == {
        "API Gateway, REST requests": 14.0,
        "Lambda, invocations": 1.0,
        "Lambda, GB-seconds (x86_64)": 29.17,
        "DynamoDB, read units": 1.0,
        "DynamoDB, write units": 5.0,
        "SQS, standard requests": 0.8,
        "Secrets Manager, calls": 5.0,
        "CloudWatch, log bytes": 0.86,
    }
    assert round(bill.total, 2) == 56.83


def test_an_accepted_request_bears_what_the_others_did_not_use() -> None:
    """Those answered at once are taken off as their own case shows them."""
    at_once = case(2, 0, writes=8, billed_ms=1_000)
    mixed = case(3, 2, writes=20, billed_ms=2_500)
    operations, _, writes, _, seconds, _ = accepted_only(mixed, at_once)
    assert (operations, writes, seconds) == ((20 - 4) / 2, (22 - 5) / 2, (2.5 - 0.5) / 2)


def test_a_month_has_what_stands_and_what_runs() -> None:
    """The secret, metrics and Lambda's own polls of three queues beside what was used."""
    rows = month(case(0, 0, writes=0, billed_ms=1_000), times=43_800, metrics=3).rows
    assert rows["CloudWatch, custom metrics a month"] == pytest.approx(0.9)
    assert rows["Secrets Manager, secrets a month"] == pytest.approx(0.4)
    assert rows["SQS, standard requests"] == pytest.approx(3 * 0.4 * 5 * 730 * 180 / 1e6)
    assert rows["Lambda, GB-seconds (x86_64)"] == pytest.approx(43_800 * 0.875 * 0.0000166667)
    assert rows["DynamoDB, write units"] == pytest.approx(43_800 * 2 * 0.625 / 1e6)


def test_alarms_and_dashboard_are_no_part_of_a_month_that_nobody_asked_them_for() -> None:
    """They are listed by themselves: a dollar for ten alarms, three for the dashboard."""
    standing = month(case(0, 0, writes=0, billed_ms=0), times=1, metrics=0).rows
    assert not standing.keys() & on_request().rows.keys()
    assert on_request().total == pytest.approx(3 + 0.1 * alarm_metrics())


def test_the_documented_prices_are_those_that_are_used() -> None:
    """Whoever changes one is told to change the other."""
    documented = (ROOT / "docs" / "costs.md").read_text()
    assert [line for line in prices() if line not in documented] == []
