"""Bodies and headers of every answer: `request_id` and `status` always, errors as RFC 9457 problems."""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from http import HTTPStatus
from typing import Any

from fastapi import Response
from fastapi.responses import JSONResponse

from api.console import Overview, Row
from api.figures import Figures
from api.signing import Accepted, Declined, Reason, Signed
from api.statuses import Found
from calling.redrive import Redriven
from core import webhook
from core.gate import Gate
from core.request import Request
from core.scheduling import Due

KEY_SET_MAX_AGE_S = 300
PROBLEM_TYPE = "application/problem+json"
TYPES = "urn:signing-relay:problem:"

DECLINED: dict[Reason, tuple[int, str, str]] = {
    Reason.LIMIT: (
        429,
        "Limit reached",
        "All calls that the upstream allows are in use, or others wait. Give a webhook_url to wait too.",
    ),
    Reason.IN_PROGRESS: (
        429,
        "Call in progress",
        "This message is being signed for another caller. Try again, or give a webhook_url to wait too.",
    ),
    Reason.PAUSED: (
        503,
        "Paused",
        "Calls to the upstream are paused by the operator. Give a webhook_url to wait until they go on.",
    ),
    Reason.BACKLOG: (
        429,
        "Backlog too long",
        "So many requests wait that this one could not be served in time.",
    ),
    Reason.UPSTREAM_FAILED: (
        502,
        "Upstream failed",
        "The upstream failed to sign this message. Give a webhook_url to have it retried.",
    ),
    Reason.UPSTREAM_SLOW: (
        504,
        "Upstream too slow",
        "The upstream did not answer in time. Give a webhook_url to have it retried.",
    ),
    Reason.REFUSED: (502, "Upstream refused", "The upstream refuses to sign this message"),
    Reason.UNAVAILABLE: (
        503,
        "Unavailable",
        "The request could not be accepted, and nothing is promised. Try again.",
    ),
}
ACCEPTED_MESSAGE = "Accepted: the signature will be sent to the webhook_url."
ACCEPTED_TO_POLL_MESSAGE = "Accepted: the signature will be found at the status_url."


def timestamp(at_ms: int | None) -> str | None:
    """Return RFC 3339 in UTC with milliseconds."""
    if at_ms is None:
        return None
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def problem(
    request_id: str,
    status: int,
    kind: str,
    title: str,
    detail: str,
    headers: dict[str, str] | None = None,
    **extra: Any,
) -> JSONResponse:
    """Return an error."""
    body = {
        "request_id": request_id,
        "status": status,
        "message": detail,
        "type": TYPES + kind,
        "title": title,
        "detail": detail,
        **extra,
    }
    return JSONResponse(body, status, headers, PROBLEM_TYPE)


def invalid(request_id: str, parameter: str, expected: str) -> JSONResponse:
    """Return the 422 that names the parameter."""
    detail = f"{parameter}: {expected}"
    return problem(request_id, 422, "invalid-parameter", "Invalid parameter", detail, parameter=parameter)


def plain_problem(
    request_id: str, status: int, headers: dict[str, str] | None = None, detail: str = ""
) -> JSONResponse:
    """Return an error that needs no more words than its status has."""
    phrase = HTTPStatus(status).phrase
    kind = phrase.lower().replace(" ", "-")
    return problem(request_id, status, kind, phrase, detail or phrase, headers)


def signed(request_id: str, result: Signed) -> JSONResponse:
    """Return the signature."""
    return JSONResponse({"request_id": request_id, "status": 200, "signature": result.signature})


def declined(request_id: str, result: Declined) -> JSONResponse:
    """Return why there is no signature and nothing was accepted."""
    status, title, detail = DECLINED[result.reason]
    if result.upstream_status:
        detail = f"{detail}: it answered {result.upstream_status}."
    return problem(request_id, status, result.reason, title, detail, _retry_after(result.retry_after_ms))


def accepted(result: Accepted, status_url: str, now_ms: int, *, asked_async: bool) -> JSONResponse:
    """Return the 202: the request is ours from here on."""
    request = result.request
    wait_ms = max(0, result.ready_at_ms - now_ms) if result.ready_at_ms else None
    body = {
        "request_id": request.id,
        "status": 202,
        "message": ACCEPTED_MESSAGE if request.webhook_url else ACCEPTED_TO_POLL_MESSAGE,
        "estimated_ready_at": timestamp(result.ready_at_ms),
        "status_url": status_url,
    }
    applied = {"Preference-Applied": "respond-async"} if asked_async else {}
    return JSONResponse(body, 202, {"Location": status_url, **(_retry_after(wait_ms) or {}), **applied})


def status(found: Found) -> JSONResponse:
    """Return where a request stands."""
    request, job = found.request, found.job
    body: dict[str, Any] = {
        "request_id": request.id,
        "status": 200,
        "state": state(request, called=found.called),
        "attempts": max(0, (job.attempts if job else 0) - request.attempts_before)
        if request.open
        else request.calls,
        "position": found.position,
        "created_at": timestamp(request.created_ms),
        "estimated_ready_at": timestamp(found.ready_at_ms),
        "finished_at": timestamp(request.closed_ms or None),
        "signature": request.signature or None,
        "failure": {"status": request.failure.status, "reason": request.failure.reason}
        if request.failure
        else None,
    }
    body = {name: value for name, value in body.items() if value is not None}
    return JSONResponse(body | {"delivery": delivery(request)}, headers={"Cache-Control": "no-store"})


def delivery(request: Request) -> dict[str, Any]:
    """Return where a request's webhook stands."""
    record, pending = request.delivery, request.delivery_due
    return {
        "state": record.state,
        "attempts": record.attempts,
        "next_attempt_at": timestamp(max(record.not_before_ms, record.until_ms)) if pending else None,
        "reason": record.reason or None,
        "excerpt": record.excerpt or None,
        "ended_at": timestamp(record.ended_ms or None),
    }


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
        "delivery": delivery(request),
    }


def redriven(request_id: str, lines: Sequence[Redriven]) -> JSONResponse:
    """Return how many dead letters went back to each queue, and how many nobody can read."""
    body = {
        "request_id": request_id,
        "status": 200,
        "moved": {line.line: line.moved for line in lines},
        "unreadable": {line.line: line.kept for line in lines},
        "more": any(line.more for line in lines),
    }
    return JSONResponse(body)


def health(request_id: str, parts: dict[str, bool]) -> JSONResponse:
    """Return which parts are up: 503 if any is not."""
    up = all(parts.values())
    body = {
        "request_id": request_id,
        "status": 200 if up else 503,
        "message": "ok" if up else "degraded",
        "parts": {name: "up" if fine else "down" for name, fine in parts.items()},
    }
    return JSONResponse(body, 200 if up else 503)


def key_set(request_id: str, public_keys: Sequence[str]) -> JSONResponse:
    """Return a JSON Web Key Set: other members are allowed in it, and to be ignored (RFC 7517)."""
    headers = {"Cache-Control": f"public, max-age={KEY_SET_MAX_AGE_S}"}
    body = {"request_id": request_id, "status": 200, **webhook.public_key_set(public_keys)}
    return JSONResponse(body, headers=headers)


def state(request: Request, *, called: bool) -> str:
    """Return a request's state as callers are told it; `called`: a call since its acceptance has failed."""
    if not request.open:
        return request.state
    return "retrying" if called else "waiting"


def _retry_after(wait_ms: int | None) -> dict[str, str] | None:
    return None if wait_ms is None else {"Retry-After": str(math.ceil(wait_ms / 1000))}
