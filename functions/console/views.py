"""The console's state as JSON."""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from fastapi import Response
from fastapi.responses import JSONResponse

from console.figures import Figures
from console.overview import Overview, Row
from core.gate import Gate
from core.scheduling import Due
from web.bodies import delivery, state, timestamp


def overview(
    request_id: str, seen: Overview, dead_letters: Mapping[str, int | None] | None, known_etag: str
) -> Response:
    """Return what the console shows; 304 without a body if the caller has it already.

    `dead_letters`: by queue; None for whom they are no business of.
    """
    body = {
        "status": 200,
        "window": _window(seen.gate, seen.now_ms),
        "waiting": _queue(seen.waiting),
        "retrying": _queue(seen.retrying),
        "requests": [_row(row) for row in sorted(seen.rows, key=lambda row: row.request.id, reverse=True)],
        "more": seen.more,
        "figures": _figures(seen.figures),
        **({} if dead_letters is None else {"dead_letters": dict(dead_letters)}),
    }
    etag = f'"{sha256(json.dumps(body).encode()).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Authorization"}
    if etag == known_etag:
        return Response(status_code=304, headers=headers)
    return JSONResponse({"request_id": request_id, **body}, headers=headers)


def _window(gate: Gate, now_ms: int) -> dict[str, Any]:
    window = gate.window
    blocked = window.blocked_until_ms > now_ms
    return {
        "calls": window.limits.calls,
        "seconds": window.limits.window_ms / 1000,
        "used": len(window.slots) - window.free_slots(now_ms),
        "slots": [
            {"free_at": timestamp(slot.free_at_ms or None), "kind": slot.kind} for slot in window.slots
        ],
        "blocked_until": timestamp(window.blocked_until_ms) if blocked else None,
        "paused": gate.paused,
        "key_refused": gate.key.suspected,
        "latency_ms": gate.hints.latency_ms,
    }


def _queue(jobs: Sequence[Due]) -> dict[str, Any]:
    return {
        "count": len(jobs),
        "oldest_at": timestamp(min((due.oldest_ms for due in jobs), default=None)),
        "next_at": timestamp(min((due.due_ms for due in jobs), default=None)),
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
    return {
        "request_id": request.id,
        "client": request.client,
        "state": state(request, called=row.called),
        "attempts": request.calls,
        "created_at": timestamp(request.created_ms),
        "estimated_ready_at": timestamp(row.ready_at_ms),
        "finished_at": timestamp(request.closed_ms or None),
        "delivery": delivery(request).model_dump(exclude_none=True),
    }
