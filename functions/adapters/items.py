"""DynamoDB items to flat records and back. Empty values are left out: some emulators refuse them."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from enum import StrEnum
from typing import Any

from core.errors import Unavailable

Item = dict[str, Any]


def attribute(value: str | int | bool) -> dict[str, Any]:
    """Return one DynamoDB attribute value."""
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int):
        return {"N": str(value)}
    return {"S": str(value)}


def plain(value: Mapping[str, Any]) -> str | int | bool:
    """Return the Python value of a scalar attribute."""
    if "N" in value:
        return int(value["N"])
    return bool(value["BOOL"]) if "BOOL" in value else str(value["S"])


def encode(record: Any, prefix: str = "") -> Item:
    """Return the attributes of a dataclass instance's scalar fields."""
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return {
        prefix + name: attribute(value)
        for name, value in values.items()
        if value not in (None, "") and isinstance(value, str | int)
    }


def decode(cls: Any, item: Mapping[str, Any], enums: Mapping[str, type[StrEnum]], prefix: str = "") -> Any:
    """Build a dataclass from an item; fields that it lacks get their defaults, a required text is empty.

    Raises `Unavailable` for an item that can't be read: a newer version's, or a damaged one.
    """
    try:
        return cls(**_values(cls, item, enums, prefix))
    except (KeyError, TypeError, ValueError) as error:
        raise Unavailable(f"a {cls.__name__} can't be read") from error


def _values(
    cls: Any, item: Mapping[str, Any], enums: Mapping[str, type[StrEnum]], prefix: str
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in fields(cls):
        stored = item.get(prefix + field.name)
        if stored is None and field.type is str and field.default is MISSING:
            values[field.name] = ""
        if stored is None or "M" in stored:
            continue
        value = plain(stored)
        values[field.name] = enums[field.name](str(value)) if field.name in enums else value
    return values
