"""The queue messages, version 1. They only start work; the table says what has to be done.

A wake-up names a time and a job, a notification names a request and the attempt that is due. Anything else
raises `InvalidMessage` and ends in the dead-letter queue.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from core.errors import InvalidMessage

VERSION = 1
JOB_ID = re.compile(r"[0-9a-f]{64}")
REQUEST_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class WakeUp:
    """Starts a processor run at `at_ms`, or at once if that is past. `job_id`: a job to call then."""

    job_id: str = ""
    at_ms: int = 0

    def encode(self) -> str:
        """Return the message's JSON text."""
        return json.dumps({"v": VERSION, "job_id": self.job_id, "at_ms": self.at_ms})


@dataclass(frozen=True, slots=True)
class NotificationMessage:
    """A request's webhook is due; `attempt` counts from 0."""

    job_id: str
    request_id: str
    attempt: int

    def encode(self) -> str:
        """Return the message's JSON text."""
        fields = {"job_id": self.job_id, "request_id": self.request_id, "attempt": self.attempt}
        return json.dumps({"v": VERSION, **fields})


@dataclass(frozen=True, slots=True)
class WaitingMessage:
    """Webhooks of one receiver that wait for it together."""

    deliveries: tuple[NotificationMessage, ...]

    def encode(self) -> str:
        """Return the message's JSON text; 500 deliveries take about 60 kB."""
        rows = [[each.job_id, each.request_id, each.attempt] for each in self.deliveries]
        return json.dumps({"v": VERSION, "waiting": rows}, separators=(",", ":"))


def decode_wake_up(text: str) -> WakeUp:
    """Parse a wake-up; raises `InvalidMessage`. An earlier version's wake-up has no `at_ms`."""
    fields = _decode(text)
    at_ms = fields.get("at_ms", 0)
    if type(at_ms) is not int:
        raise InvalidMessage("at_ms is not a number")
    named = fields.get("job_id") != ""
    return WakeUp(_matching(fields, "job_id", JOB_ID) if named else "", at_ms)


def decode_notification(text: str) -> NotificationMessage:
    """Parse a notification message; raises `InvalidMessage`."""
    return _notification(_decode(text))


def decode_webhooks(text: str) -> NotificationMessage | WaitingMessage:
    """Parse a message of one webhook, or of several that wait together; raises `InvalidMessage`."""
    fields = _decode(text)
    rows = fields.get("waiting")
    if rows is None:
        return _notification(fields)
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        raise InvalidMessage("waiting is not a list of deliveries")
    names = ("job_id", "request_id", "attempt")
    return WaitingMessage(tuple(_notification(dict(zip(names, row, strict=False))) for row in rows))


def _notification(fields: Mapping[str, object]) -> NotificationMessage:
    attempt = fields.get("attempt")
    if type(attempt) is not int or attempt < 0:
        raise InvalidMessage("attempt is not a number")
    return NotificationMessage(
        _matching(fields, "job_id", JOB_ID), _matching(fields, "request_id", REQUEST_ID), attempt
    )


def _decode(text: str) -> dict[str, object]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidMessage("not JSON") from None
    if not isinstance(fields, dict):
        raise InvalidMessage("not a JSON object")
    if fields.get("v") != VERSION:
        raise InvalidMessage("unknown version")
    return fields


def _matching(fields: Mapping[str, object], name: str, pattern: re.Pattern[str]) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise InvalidMessage(f"{name} is missing or malformed")
    return value
