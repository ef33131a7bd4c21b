"""`make logs`: what the functions log, a short line each, as it is written; `make logs ID=…` for one request.

Lines about the request's message are shown too: its calls are made for all requests that wait for it.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

LOG = Path(".local/logs/functions.log")
POLL_S = 0.25
# The same on every line, or for machines only.
NOT_SHOWN = {"_aws", "time", "level", "event", "function", "stack", "version", "cold_start", "request_id"}
NOT_SHOWN |= {"function_request_id", "gateway_request_id"}


class Reader:
    """Makes lines readable, and drops those about other requests than the requested one."""

    def __init__(self, request_id: str | None) -> None:
        self._request_id = request_id
        self._jobs = set[str]()

    def read(self, line: str) -> str | None:
        """Return a line `function {json}` in readable form; None if it is about another request."""
        function, _, text = line.partition(" ")
        try:
            fields = json.loads(text)
        except ValueError:  # a traceback, or a line of Lambda's own
            return line if self._request_id is None else None
        return shown(function, fields) if self._is_wanted(fields) else None

    def _is_wanted(self, fields: dict[str, Any]) -> bool:
        if self._request_id is None:
            return True
        if fields.get("request_id") == self._request_id:
            self._jobs |= {fields["job_id"]} if "job_id" in fields else set()
            return True
        return fields.get("job_id") in self._jobs


def shown(function: str, fields: dict[str, Any]) -> str:
    """Return one line: time of day, function, event, what it tells, and the request it is about."""
    level = fields.get("level", "INFO")
    hidden = NOT_SHOWN | _counters(fields)
    told = [f"{name}={_value(value)}" for name, value in fields.items() if name not in hidden]
    parts = [
        fields.get("time", "")[11:23],
        f"{function:9}",
        f"{fields.get('event', ''):16}",
        *([level] if level != "INFO" else []),
        *(["cold start"] if fields.get("cold_start") else []),
        *told,
        fields.get("request_id", ""),
    ]
    return " ".join(part for part in parts if part)


def _counters(fields: dict[str, Any]) -> set[str]:
    """Return the names of figures other than durations: they count what the event already says."""
    definitions = fields.get("_aws", {}).get("CloudWatchMetrics", [])
    names = {metric["Name"] for definition in definitions for metric in definition["Metrics"]}
    return {name for name in names if not name.endswith(("Ms", "S"))}


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    is_hash = len(text) == 64 and not text.strip("0123456789abcdef")  # noqa: PLR2004 - SHA-256 in hex
    return text[:8] if is_hash else text


def lines_of(log: Path, *, follow: bool) -> Iterator[str]:
    """Yield the lines of a log and the one before it, then those that are added, until the reader stops.

    A log that is full is renamed, and another one begun.
    """
    before = log.with_name(f"{log.name}.1")
    if before.exists():
        yield from before.read_text().splitlines()
    while True:
        with log.open() as file:
            yield from _lines_until_replaced(file, log, follow=follow)
        if not follow:
            return


def _lines_until_replaced(file: Any, log: Path, *, follow: bool) -> Iterator[str]:
    unfinished, inode = "", log.stat().st_ino
    while True:
        for part in file:
            unfinished += part
            if unfinished.endswith("\n"):
                yield unfinished.rstrip("\n")
                unfinished = ""
        if not follow or not log.exists() or log.stat().st_ino != inode:
            return
        time.sleep(POLL_S)


def main(argv: Sequence[str]) -> int:
    """Show the log until Ctrl-C; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--id", default=None, help="only what is about this request")
    parser.add_argument("--log", type=Path, default=LOG, help="where the functions log")
    parser.add_argument("--no-follow", action="store_true", help="end at the log's end")
    options = parser.parse_args(argv)
    if not options.log.exists():
        sys.stderr.write(f"there is no {options.log}: `make run` writes it\n")
        return 1
    reader = Reader(options.id or None)
    try:
        for line in lines_of(options.log, follow=not options.no_follow):
            if (text := reader.read(line)) is not None:
                sys.stdout.write(text + "\n")
                sys.stdout.flush()
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
