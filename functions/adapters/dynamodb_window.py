"""The gate, window included, as one DynamoDB item: every change of it is one conditional `UpdateItem`."""

from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from adapters.aws import in_thread
from adapters.dynamodb_table import ABSENT, CONDITION_FAILED, DynamoTable
from adapters.items import Item, attribute, plain
from core.errors import Unavailable
from core.gate import DEFAULTS, Gate
from core.waiting import PREFIXES, entered_field_of, field_of, open_field_of
from core.window import Change, FieldValue, Kind, Limits, Slot, Window
from ports import Conflict, Written

KEY: Item = {"PK": {"S": "WINDOW"}}


class DynamoWindowStore(DynamoTable):
    """A `ports.WindowStore` on a boto3 DynamoDB client. `missing` makes the gate where there is none."""

    def __init__(self, client: Any, table: str, missing: Callable[[], Gate]) -> None:
        super().__init__(client, table)
        self._missing = missing

    async def read(self) -> Gate:
        """Return the gate; a missing one is created."""
        if item := await self._get(KEY):
            return decode(item)
        await self.create(self._missing())
        return await self.read()

    async def create(self, gate: Gate) -> bool:
        """Store a gate if there is none; say whether it was stored."""
        return await self._put(encode(gate), ABSENT) is None

    async def overwrite(self, gate: Gate) -> None:
        """Store a gate without a condition. Use it only if nothing else uses the window."""
        await in_thread(self._client.put_item, TableName=self._table, Item=encode(gate))

    async def apply(self, change: Change) -> Written[Gate] | Conflict[Gate]:
        """Carry out a conditional write."""
        update = _Update(change)
        try:
            answer = await in_thread(
                self._client.update_item,
                keep=CONDITION_FAILED,
                TableName=self._table,
                Key=KEY,
                UpdateExpression=update.expression,
                ConditionExpression=update.condition,
                ExpressionAttributeNames=update.names,
                ExpressionAttributeValues=update.values,
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            item: Item | None = error.response.get("Item")  # type: ignore[assignment]
            return Conflict(decode(item) if item else await self.read())
        return Written(decode(answer["Attributes"]))


class _Update:
    """A `Change` as a DynamoDB update expression. Every name and value has a placeholder."""

    def __init__(self, change: Change) -> None:
        self.names: dict[str, str] = {}
        self._placeholders: dict[str, str] = {}
        self.values: Item = {}
        self._conditions = [f"{self._name('version')} = {self._value(attribute(change.limits_version))}"]
        self._sets: list[str] = []
        self._removes: list[str] = []
        if change.limits:
            self._replace_all_slots(change, change.limits)
        else:
            self._replace_slots(change)
        for name, value in change.expected.items():
            self._conditions.append(self._still(name, value))
        for name, value in change.values.items():
            self._set_field(self._name(name), value)
        self._adds = [
            f"{self._name(name)} {self._value(attribute(number))}"
            for name, number in change.increments.items()
        ]
        if change.latencies_ms is not None:
            self._set(self._name("latencies_ms"), _numbers(change.latencies_ms))
        actions = (("SET", self._sets), ("REMOVE", self._removes), ("ADD", self._adds))
        self.expression = " ".join(f"{action} {', '.join(parts)}" for action, parts in actions if parts)
        self.condition = " AND ".join(self._conditions)

    def _replace_slots(self, change: Change) -> None:
        for index, slot in change.expected_slots.items():
            path = f"{self._name('slots')}.{self._name(str(index))}"
            self._conditions.append(f"{path} = {self._value(_encode_slot(slot))}")
        for index, slot in change.slots.items():
            self._set(f"{self._name('slots')}.{self._name(str(index))}", _encode_slot(slot))

    def _replace_all_slots(self, change: Change, limits: Limits) -> None:
        """Compare and set the whole map: a hundred single paths would exceed the expression's 4 KB."""
        slots = self._name("slots")
        self._conditions.append(f"{slots} = {self._value(_encode_slots(change.expected_slots))}")
        self._set(slots, _encode_slots(change.slots))
        for name, value in _encode_limits(limits).items():
            self._set(self._name(name), value)

    def _still(self, name: str, value: FieldValue) -> str:
        """A field that the item lacks has its default; an empty text is never stored."""
        placeholder = self._name(name)
        absent = f"attribute_not_exists({placeholder})"
        if value == "":
            return absent
        unchanged = f"{placeholder} = {self._value(attribute(value))}"
        return f"({absent} OR {unchanged})" if value == DEFAULTS.get(name) else unchanged

    def _set_field(self, path: str, value: FieldValue) -> None:
        if value == "":
            self._removes.append(path)
        else:
            self._set(path, attribute(value))

    def _set(self, path: str, value: Mapping[str, Any]) -> None:
        self._sets.append(f"{path} = {self._value(value)}")

    def _name(self, name: str) -> str:
        placeholder = self._placeholders.setdefault(name, f"#n{len(self._placeholders)}")
        self.names[placeholder] = name
        return placeholder

    def _value(self, value: Mapping[str, Any]) -> str:
        placeholder = f":v{len(self.values)}"
        self.values[placeholder] = value
        return placeholder


def encode(gate: Gate) -> Item:
    """Return the gate's item."""
    values = {name: gate.value(name) for name in DEFAULTS}
    return {
        **KEY,
        **_encode_limits(gate.window.limits),
        **{name: attribute(value) for name, value in values.items() if value != ""},
        **{field_of(client): attribute(count) for client, count in gate.waiting.items()},
        **{entered_field_of(client): attribute(at_ms) for client, at_ms in gate.entered.items()},
        **{open_field_of(client): attribute(count) for client, count in gate.open_requests.items()},
        "slots": _encode_slots(dict(enumerate(gate.window.slots))),
        "latencies_ms": _numbers(gate.hints.latencies_ms),
    }


def decode(item: Item) -> Gate:
    """Return the gate of an item; raises `Unavailable` if it can't be read: then there are no calls."""
    try:
        stored = item["slots"]["M"]
        limits = Limits(int(item["calls"]["N"]), int(item["window_ms"]["N"]), int(item["version"]["N"]))
        if len(stored) != limits.calls:
            raise Unavailable("the window item has more or fewer slots than its limit")
        slots = tuple(_decode_slot(stored[str(index)]["M"]) for index in range(limits.calls))
        latencies_ms = tuple(int(value["N"]) for value in item["latencies_ms"]["L"])
        values = {name: plain(item[name]) for name in item if name in DEFAULTS or name.startswith(PREFIXES)}
        return Gate(Window(limits, slots)).having(latencies_ms, **values)
    except (KeyError, ValueError, TypeError) as error:
        raise Unavailable("the window item is unreadable") from error


def _encode_limits(limits: Limits) -> Item:
    return {
        "calls": attribute(limits.calls),
        "window_ms": attribute(limits.window_ms),
        "version": attribute(limits.version),
    }


def _encode_slots(slots: Mapping[int, Slot]) -> Item:
    return {"M": {str(index): _encode_slot(slot) for index, slot in slots.items()}}


def _encode_slot(slot: Slot) -> Item:
    holder = {"h": attribute(slot.holder)} if slot.holder else {}
    return {"M": {"f": attribute(slot.free_at_ms), "k": attribute(slot.kind), **holder}}


def _decode_slot(stored: Item) -> Slot:
    holder = stored["h"]["S"] if "h" in stored else ""
    return Slot(int(stored["f"]["N"]), holder, Kind(stored["k"]["S"]))


def _numbers(values: tuple[int, ...]) -> Item:
    return {"L": [attribute(value) for value in values]}
