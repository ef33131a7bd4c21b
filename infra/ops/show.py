"""Prints results: tables for people, JSON for programs. No key is printed, except a new one."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

Row = Mapping[str, Any]

AGO = re.compile(r"(\d+)([smhd])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment_ms(text: str) -> int:
    """Parse `30m`, `2h`, `3d` (ago) or an ISO 8601 time (UTC unless it says otherwise); raises ValueError."""
    if ago := AGO.fullmatch(text):
        moment = datetime.now(UTC) - timedelta(**{UNITS[ago[2]]: int(ago[1])})
    else:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def time_text(at_ms: int | None) -> str:
    """Return a time to the second, in UTC; None for None."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at_ms else ""


def rows(found: Sequence[Row], title: str, *, as_json: bool) -> None:
    """Print rows, one line each."""
    if as_json:
        print(json.dumps(list(found)))
        return
    if not sys.stdout.isatty():
        _lines(found)
        return
    table = Table(*(found[0] if found else ()), title=title, title_justify="left")
    for row in found:
        table.add_row(*(_cell(value) for value in row.values()))
    Console().print(table)


def document(found: Row, *, as_json: bool) -> None:
    """Print one document, one line per field."""
    if as_json:
        print(json.dumps(found))
        return
    if not sys.stdout.isatty():
        for name, value in found.items():
            print(f"{name}\t{'' if value is None else value}")
        return
    table = Table.grid(padding=(0, 2))
    for name, value in found.items():
        table.add_row(name, _cell(value))
    Console().print(table)


def _lines(found: Sequence[Row]) -> None:
    """Print rows for programs: columns between tabs, their names in the first line."""
    if found:
        print("\t".join(found[0]))
    for row in found:
        print("\t".join("" if value is None else " ".join(str(value).split()) for value in row.values()))


def _cell(value: object) -> str:
    return "" if value is None else str(value).replace("[", "\\[")
