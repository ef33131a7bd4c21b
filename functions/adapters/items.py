"""DynamoDB items to flat records and back. Empty values are left out: some emulators refuse them."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any

from core.errors import Unavailable

Item = dict[str, Any]
READERS: Mapping[Any, Callable[[Mapping[str, Any]], Any]] = {
    str: lambda stored: str(stored["S"]),
    bool: lambda stored: bool(stored["BOOL"]),
    int: lambda stored: int(stored["N"]),
    int | None: lambda stored: int(stored["N"]),
}
"""How a field is read from its attribute, by the field's type. Fields of other types are not scalar."""


def attribute(value: str | int | bool) -> dict[str, Any]:
    """Return one DynamoDB attribute value."""
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int):
        return {"N": str(value)}
    return {"S": str(value)}


def attributes(values: Mapping[str, str | int | None]) -> Item:
    """Return the attributes of values by name; None and empty texts are left out."""
    return {name: attribute(value) for name, value in values.items() if value not in (None, "")}


def plain(value: Mapping[str, Any]) -> str | int | bool:
    """Return the Python value of a scalar attribute."""
    if "N" in value:
        return int(value["N"])
    return bool(value["BOOL"]) if "BOOL" in value else str(value["S"])


def scalars(cls: Any) -> tuple[Any, ...]:
    """Return the scalar fields of a dataclass."""
    return tuple(field for field in fields(cls) if field.type in READERS)


def encode(record: Any) -> Item:
    """Return the attributes of a dataclass instance's scalar fields."""
    return attributes({field.name: getattr(record, field.name) for field in scalars(type(record))})


def values(cls: Any, item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scalar fields that an item has, by name; a required text that it lacks is empty.

    Raises KeyError or ValueError for an attribute of another type than its field's.
    """
    found: dict[str, Any] = {}
    for field in scalars(cls):
        if field.name in item:
            found[field.name] = READERS[field.type](item[field.name])
        elif field.type is str and field.default is MISSING:
            found[field.name] = ""
    return found


def decode(cls: Any, item: Mapping[str, Any]) -> Any:
    """Build a dataclass from an item; fields that it lacks get their defaults, a required text is empty.

    Raises `Unavailable` for an item that can't be read: a newer version's, or a damaged one.
    """
    try:
        return cls(**values(cls, item))
    except (KeyError, TypeError, ValueError) as error:
        raise Unavailable(f"a {cls.__name__} can't be read") from error
