"""Prints results: tables for people, JSON for programs. No key is printed, except a new one."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

from core.gate import Gate
from core.words import explain
from infra.ops.actions import Standing
from infra.ops.dead_letters import Letter

Row = Mapping[str, Any]
TEXT_MAX = 1_000

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


def standing_row(standing: Standing) -> Row:
    """Return one line about a request."""
    request, delivery = standing.request, standing.request.delivery
    return {
        "id": request.id,
        "state": standing.state,
        "client": request.client,
        "created": time_text(request.created_ms),
        "attempts": standing.attempts if request.open else request.calls,
        "webhook": delivery.state.value,
        "why": _why(standing),
    }


def _why(standing: Standing) -> str:
    """Return the last error: the request's failure, else its webhook's, else its last call's."""
    request, job = standing.request, standing.job
    code = request.failure.reason if request.failure else request.delivery.reason
    code = code or (job.error if job and request.open else "")
    return explain(code) if code else ""


def standing_document(standing: Standing) -> Row:
    """Return all fields of a request except the message and the signature, which belong to the caller."""
    request, job, delivery = standing.request, standing.job, standing.request.delivery
    return {
        **standing_row(standing),
        "job": request.job_id,
        "closed": time_text(request.closed_ms),
        "failure": f"{request.failure.status} {request.failure.reason}" if request.failure else "",
        "webhook_url": request.webhook_url,
        "webhook_attempts": delivery.attempts,
        "webhook_next": time_text(delivery.not_before_ms) if request.delivery_due else "",
        "webhook_ended": time_text(delivery.ended_ms),
        "webhook_answer": delivery.excerpt,
        "next_look": time_text(request.due_ms),
        "next_call": time_text(job.due_ms) if job else "",
        "call_until": time_text(job.call.until_ms) if job and job.call else "",
    }


def letter_row(letter: Letter) -> Row:
    """Return one line about a dead letter."""
    return {
        "queue": letter.queue,
        "readable": letter.readable,
        "requests": " ".join(request.id for request in letter.requests),
        "text": letter.text[:TEXT_MAX],
    }


def window_document(gate: Gate, now_ms: int) -> Row:
    """Return the limits and the slots in use."""
    window = gate.window
    return {
        "calls": window.limits.calls,
        "window_seconds": window.limits.window_ms / 1000,
        "free": window.free_slots(now_ms),
        "next_free": time_text(min(slot.free_at_ms for slot in window.slots)),
        "paused": gate.paused,
        "blocked_until": time_text(window.blocked_until_ms) if window.blocked_until_ms > now_ms else "",
        "key_in_doubt": gate.key.suspected,
        "deployed": window.deployed,
    }


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
