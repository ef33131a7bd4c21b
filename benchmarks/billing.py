"""What AWS would bill for a call: pure functions of what was asked and answered, and one table of prices."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

Item = Mapping[str, Mapping[str, Any]]

READ_UNIT_BYTES = 4096
WRITE_UNIT_BYTES = 1024
SQS_REQUEST_BYTES = 65_536
NESTED_BYTES = 3  # of a list or a map, and 1 for each element
HOURS_A_MONTH = 730
MINUTES_A_MONTH = HOURS_A_MONTH * 60

# The signing table's index `due`: a row is there while it has both, and holds what is projected.
INDEX_KEYS = ("due_kind", "due_ms")
INDEX_ATTRIBUTES = ("PK", "SK", *INDEX_KEYS, "oldest_ms", "state", "created_ms")

# Lambda's event source polls a queue with so many pollers while it is idle, 20 s at a time.
POLLERS = 5
POLL_S = 20
# START, END and REPORT, and what CloudWatch adds to each line.
PLATFORM_LOG_BYTES = 370


@dataclass(frozen=True, slots=True)
class Price:
    """What so many of something cost, where that is published, and when it was last seen to be so."""

    dollars: float
    per: int
    page: str
    seen: str

    def of(self, amount: float) -> float:
        """Return the dollars for an amount."""
        return self.dollars * amount / self.per


GB = 2**30
PAGE = "https://aws.amazon.com/{}/pricing/"
# us-east-1, first tier, without free tiers.
PRICES = {
    "API Gateway, REST requests": Price(3.50, 10**6, PAGE.format("api-gateway"), "2025-05"),
    "Lambda, invocations": Price(0.20, 10**6, PAGE.format("lambda"), "2026-09"),
    "Lambda, GB-seconds (x86_64)": Price(0.0000166667, 1, PAGE.format("lambda"), "2024"),
    "DynamoDB, read units": Price(0.125, 10**6, PAGE.format("dynamodb"), "2025-07"),
    "DynamoDB, write units": Price(0.625, 10**6, PAGE.format("dynamodb"), "2025-07"),
    "SQS, standard requests": Price(0.40, 10**6, PAGE.format("sqs"), "2026-06"),
    "Secrets Manager, calls": Price(0.05, 10**4, PAGE.format("secrets-manager"), "2026-09"),
    "Secrets Manager, secrets a month": Price(0.40, 1, PAGE.format("secrets-manager"), "2026-09"),
    "CloudWatch, log bytes": Price(0.50, GB, PAGE.format("cloudwatch"), "2026-06"),
    "CloudWatch, custom metrics a month": Price(0.30, 1, PAGE.format("cloudwatch"), "2026-06"),
    "CloudWatch, alarms a month": Price(0.10, 1, PAGE.format("cloudwatch"), "2026-06"),
    "CloudWatch, dashboards a month": Price(3.00, 1, PAGE.format("cloudwatch"), "2026-06"),
}


def dollars(amounts: Mapping[str, float]) -> dict[str, float]:
    """Return what each of these amounts costs, by the names in `PRICES`."""
    return {name: PRICES[name].of(amount) for name, amount in amounts.items()}


def idle_polls_a_month(queues: int) -> float:
    """Return the queue requests that Lambda's own pollers make in a month without a message."""
    return queues * POLLERS * HOURS_A_MONTH * 3600 / POLL_S


def item_bytes(item: Item) -> int:
    """Return an item's size as DynamoDB counts it: names and values, UTF-8."""
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(str(content).encode())
        case "N":
            digits = str(content).lstrip("-").replace(".", "").strip("0")
            return math.ceil(len(digits) / 2) + 1 + str(content).startswith("-")
        case "BOOL" | "NULL":
            return 1
        case "M":
            return NESTED_BYTES + sum(
                len(name.encode()) + 1 + _value_bytes(row) for name, row in content.items()
            )
        case "L":
            return NESTED_BYTES + sum(1 + _value_bytes(row) for row in content)
    raise ValueError(f"no item of ours has a {kind}")


def _started(size: float, unit: int) -> int:
    return max(1, math.ceil(size / unit))


@dataclass(frozen=True, slots=True)
class Units:
    """DynamoDB's request units; those of the index are write units too."""

    read: float = 0
    write: float = 0
    index: float = 0

    def __add__(self, other: "Units") -> "Units":
        return Units(self.read + other.read, self.write + other.write, self.index + other.index)


def read_units(items: Iterable[Item], *, consistent: bool) -> Units:
    """All items of one request together, in steps of 4 KB; half as much where it may be stale."""
    steps = _started(sum(map(item_bytes, items)), READ_UNIT_BYTES)
    return Units(read=steps if consistent else steps / 2)


def write_units(before: Item | None, after: Item | None) -> Units:
    """The larger of old and new, in steps of 1 KB, and what the index has to change."""
    size = max(item_bytes(item) if item else 0 for item in (before, after))
    return Units(write=_started(size, WRITE_UNIT_BYTES), index=index_units(before, after))


def index_units(before: Item | None, after: Item | None) -> int:
    """A row that comes, goes or changes is one write; one that moves is deleted and put."""
    old, new = _index_row(before), _index_row(after)
    if old == new:
        return 0
    rows = [_started(item_bytes(row), WRITE_UNIT_BYTES) for row in (old, new) if row]
    moved = old and new and [old[name] for name in INDEX_KEYS] != [new[name] for name in INDEX_KEYS]
    return sum(rows) if moved else max(rows)


def _index_row(item: Item | None) -> dict[str, Mapping[str, Any]] | None:
    if not item or not all(name in item for name in INDEX_KEYS):
        return None
    return {name: item[name] for name in INDEX_ATTRIBUTES if name in item}


class Ledger:
    """Charges DynamoDB calls one by one. It keeps the items: a write is charged by what it replaces."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, ...], Item] = {}

    def charge(
        self, operation: str, asked: Mapping[str, Any], answer: Mapping[str, Any], *, done: bool
    ) -> Units:
        """Return what a call costs. One whose condition failed costs as much, but changes no index."""
        match operation:
            case "GetItem":
                return read_units([answer.get("Item", {})], consistent=asked.get("ConsistentRead", False))
            case "Query":
                return read_units(answer.get("Items", []), consistent=asked.get("ConsistentRead", False))
            case "PutItem":
                return self._write(asked["TableName"], asked["Item"], asked["Item"], done=done)
            case "UpdateItem":
                after = answer.get("Attributes") or answer.get("Item")
                return self._write(asked["TableName"], asked["Key"], after, done=done)
            case "DeleteItem":
                return self._write(asked["TableName"], asked["Key"], None, done=done)
            case "TransactWriteItems":
                puts = [row["Put"] for row in asked["TransactItems"]]
                rows = [self._write(put["TableName"], put["Item"], put["Item"], done=done) for put in puts]
                return sum((Units(write=2 * row.write, index=row.index) for row in rows), Units())
        raise ValueError(f"no function of ours calls {operation}")

    def _write(self, table: str, key: Item, after: Item | None, *, done: bool) -> Units:
        names = (table, key["PK"]["S"], key.get("SK", {}).get("S", ""))
        before = self._items.get(names)
        units = write_units(before, after)
        if not done:
            return Units(write=units.write)
        self._items.pop(names, None)
        if after is not None:
            self._items[names] = after
        return units


def sqs_requests(payload_bytes: int) -> int:
    """Every started 64 KB of what is sent or received is a request."""
    return _started(payload_bytes, SQS_REQUEST_BYTES)


@dataclass(frozen=True, slots=True)
class Bill:
    """Dollars by item."""

    rows: Mapping[str, float]

    @classmethod
    def of(cls, amounts: Mapping[str, float], times: float = 1) -> Self:
        """Return the bill for these amounts, so many times over; what rounds to nothing is left out."""
        return cls({name: times * cost for name, cost in dollars(amounts).items() if times * cost > 0})

    @property
    def total(self) -> float:
        """The sum."""
        return sum(self.rows.values())
