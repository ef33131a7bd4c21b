"""A file of JSON lines: one per event, so that a kill at any moment loses at most the one being written."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Event = dict[str, Any]


class Journal:
    """Events of one server on disk. A torn line is skipped; `rewrite` replaces the file in one step."""

    def __init__(self, path: Path) -> None:
        """Read the existing events. Nothing is written before the first append or rewrite."""
        self._path = path
        self.loaded = _read(path)
        self.lines = len(self.loaded)
        self._ends_in_a_torn_line = path.exists() and not path.read_bytes().endswith(b"\n")

    def append(self, event: Event) -> None:
        """Add one event and flush it, so that it survives a kill of this process."""
        start = "\n" if self._ends_in_a_torn_line else ""
        self._ends_in_a_torn_line = False
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{start}{json.dumps(event)}\n")
        self.lines += 1

    def rewrite(self, events: Iterable[Event]) -> None:
        """Replace everything by these events; a crash leaves either the old file or the new one."""
        lines = [json.dumps(event) + "\n" for event in events]
        fresh = self._path.with_suffix(".new")
        fresh.write_text("".join(lines), encoding="utf-8")
        fresh.replace(self._path)
        self.lines = len(lines)
        self._ends_in_a_torn_line = False


def _read(path: Path) -> list[Event]:
    if not path.exists():
        return []
    return [event for line in path.read_bytes().splitlines() if (event := _event(line)) is not None]


def _event(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:  # torn by a kill during the write, or not text
        return None
    return event if isinstance(event, dict) else None
