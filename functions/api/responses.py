"""Bodies and headers of every answer: `request_id` and `status` always, errors as RFC 9457 problems."""

import math
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse

from api.signing import Accepted, Declined, Reason, Signed
from core.job import Job, Request, RequestState

PROBLEM_TYPE = "application/problem+json"
TYPES = "urn:signing-relay:problem:"

DECLINED: dict[Reason, tuple[int, str, str]] = {
    Reason.LIMIT: (
        429,
        "Limit reached",
        "All calls that the upstream allows are in use, or others wait. Give a webhook_url to wait too.",
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


def accepted(result: Accepted, status_url: str, now_ms: int) -> JSONResponse:
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
    return JSONResponse(body, 202, {"Location": status_url, **(_retry_after(wait_ms) or {})})


def status(request: Request, job: Job | None, ready_at_ms: int | None) -> JSONResponse:
    """Return where a request stands."""
    delivery = request.delivery
    pending = request.delivery_due
    body: dict[str, Any] = {
        "request_id": request.id,
        "status": 200,
        "state": _state(request, job),
        "attempts": max(0, (job.attempts if job else 0) - request.attempts_before) if request.open else None,
        "created_at": timestamp(request.created_ms),
        "estimated_ready_at": timestamp(ready_at_ms) if request.open else None,
        "signature": request.signature or None,
        "failure": {"status": request.failure_status, "reason": request.failure_reason}
        if request.state is RequestState.FAILED
        else None,
    }
    body = {name: value for name, value in body.items() if value is not None}
    body["delivery"] = {
        "state": delivery.state,
        "attempts": delivery.attempts,
        "next_attempt_at": timestamp(max(delivery.not_before_ms, delivery.until_ms)) if pending else None,
        "reason": delivery.reason or None,
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


def _state(request: Request, job: Job | None) -> str:
    if not request.open:
        return request.state
    called = job is not None and job.attempts - bool(job.call_id) > request.attempts_before
    return "retrying" if called else "waiting"


def _retry_after(wait_ms: int | None) -> dict[str, str] | None:
    return None if wait_ms is None else {"Retry-After": str(math.ceil(wait_ms / 1000))}
