"""The console's answers as JSON, and the pieces of its page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import Response
from fastapi.responses import JSONResponse

from console.figures import Figures
from console.models import ConsoleHistory, ConsolePoint
from console.overview import Overview, Row
from console.reading import JOBS_MAX, Reading
from core.gate import Gate
from core.history import Minute, Point
from core.scheduling import Due
from core.words import explain
from web.bodies import delivery, state, timestamp
from web.models import Headline, reply
from web.negotiation import has_tag

FOLDER = Path(__file__).parent / "page"
PAGE = FOLDER / "console.html"
SCRIPTS = ("service", "words", "headline", "window", "charts", "rows", "console")
RATE_MS = 300_000


@cache
def pieces() -> Mapping[str, str]:
    """Return the style and the script, which are put into the page's one document."""
    script = "".join((FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    style = (FOLDER / "console.css").read_text(encoding="utf-8")
    return {"/* console.css */": style, "/* console.js */": script}


def overview(request_id: str, seen: Overview, known_etag: str) -> Response:
    """Return what the console shows; 304 without a body if the caller has it already."""
    reading, operator = seen.reading, seen.dead_letters is not None
    body = {
        "status": 200,
        "headline": headline(seen).model_dump(exclude_none=True),
        "window": _window(reading.gate, reading.now_ms, reading.hour),
        "waiting": {**_queue(reading.waiting), "count": reading.waiting_count, "more": False},
        "retrying": _queue(reading.retrying),
        "requests": [_row(row) for row in sorted(seen.rows, key=_order)],
        "more": reading.more,
        "figures": _figures(seen.figures),
        **({"calls": _calls(reading), "dead_letters": dict(seen.dead_letters or {})} if operator else {}),
    }
    # A weak tag: two bodies of the same state differ in their request id.
    etag = f'W/"{sha256(json.dumps(body).encode()).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Authorization"}
    if has_tag(known_etag, etag):
        return Response(status_code=304, headers=headers)
    return JSONResponse({"request_id": request_id, **body}, headers=headers)


def headline(seen: Overview) -> Headline:
    """Return the headline. `todo` is empty for callers."""
    told, operator = seen.headline, seen.dead_letters is not None
    return Headline(
        state=told.state.value,
        severity=told.severity.value,
        title=told.title,
        why=told.why,
        todo=told.todo if operator else "",
        since=timestamp(told.since_ms),
    )


def history(request_id: str, points: Sequence[Point]) -> Response:
    """Return the points of the charts, oldest first."""
    shown = [ConsolePoint(at=timestamp(point.at_ms), **_without_time(point)) for point in points]
    body = ConsoleHistory(request_id=request_id, status=200, points=shown)
    return reply(body, headers={"Cache-Control": "no-store"})


def _without_time(point: Point) -> dict[str, Any]:
    return {name: value for name, value in asdict(point).items() if name != "at_ms"}


def _order(row: Row) -> tuple[bool, int, str]:
    """Sort open requests first, by `ready_at_ms`; then the others, newest first."""
    request = row.request
    if request.open:
        return (False, row.ready_at_ms or 10**15, request.id)
    return (True, -request.created_ms, request.id)


def _window(gate: Gate, now_ms: int, hour: Sequence[Minute]) -> dict[str, Any]:
    window = gate.window
    blocked = window.blocked_until_ms > now_ms
    used = len(window.slots) - window.free_slots(now_ms)
    return {
        "calls": window.limits.calls,
        "seconds": window.limits.window_ms / 1000,
        "used": used,
        "most_used": max([used, *(minute.used for minute in hour)]),
        "slots": [
            {"free_at": timestamp(slot.free_at_ms or None), "kind": slot.kind} for slot in window.slots
        ],
        "blocked_until": timestamp(window.blocked_until_ms) if blocked else None,
        "paused": gate.paused,
        "paused_by": gate.pause.paused_by or None,
        "paused_at": timestamp(gate.pause.paused_at_ms or None),
        "key_refused": gate.key.suspected,
        "latency_ms": gate.hints.latency_ms,
    }


def _queue(jobs: Sequence[Due]) -> dict[str, Any]:
    return {
        "count": len(jobs),
        "more": len(jobs) == JOBS_MAX,
        "oldest_at": timestamp(min((due.oldest_ms for due in jobs), default=None)),
        "next_at": timestamp(min((due.due_ms for due in jobs), default=None)),
    }


def _calls(reading: Reading) -> dict[str, Any] | None:
    """Return the results of the calls of the last five minutes, inline calls included; None if not known."""
    since_ms = reading.now_ms - RATE_MS - 60_000
    before = next((minute for minute in reading.hour if minute.at_ms >= since_ms), None)
    if before is None:
        return None
    tally = reading.gate.tally
    return {
        "seconds": round((reading.now_ms - before.at_ms) / 1000),
        "signed": max(0, tally.signed - before.signed),
        "at_once": max(0, tally.at_once - before.at_once),
        "failed": max(0, tally.failed + tally.unanswered - before.failed),
    }


def _figures(of: Figures) -> dict[str, Any]:
    return {
        "signed": of.signed,
        "seconds": round(of.span_ms / 1000),
        "signed_per_minute": round(of.signed * 60_000 / of.span_ms, 1),
        "time_to_signature_ms": of.time_to_signature_ms,
        "estimate_error_ms": of.estimate_error_ms,
        "delivered": of.delivered,
        "failing": of.failing,
        "undeliverable": of.undeliverable,
    }


def _row(row: Row) -> dict[str, Any]:
    request = row.request
    failure, webhook = request.failure, delivery(request).model_dump(exclude_none=True)
    return {
        "request_id": request.id,
        "client": request.client,
        "state": state(request, called=row.called),
        "attempts": request.calls,
        "created_at": timestamp(request.created_ms),
        "estimated_ready_at": timestamp(row.ready_at_ms),
        "finished_at": timestamp(request.closed_ms or None),
        "error": explain(row.error) if row.error else None,
        "failure": explain(failure.reason) if failure else None,
        "receiver": urlsplit(request.webhook_url).netloc or None,
        "delivery": webhook | ({"reason": explain(webhook["reason"])} if "reason" in webhook else {}),
    }
