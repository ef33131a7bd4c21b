"""Bodies and headers of the API's own answers: `request_id` and `status` always."""

import math
from collections.abc import Mapping, Sequence

from fastapi.responses import JSONResponse

from api.signing import Accepted, Declined, Reason, Signed
from core import webhook
from web import problems
from web.bodies import timestamp
from web.problems import Kind, problem

KEY_SET_MAX_AGE_S = 300

DECLINED: Mapping[Reason, Kind] = {
    Reason.LIMIT: problems.LIMIT_REACHED,
    Reason.IN_PROGRESS: problems.CALL_IN_PROGRESS,
    Reason.PAUSED: problems.PAUSED,
    Reason.BACKLOG: problems.BACKLOG_TOO_LONG,
    Reason.UPSTREAM_FAILED: problems.UPSTREAM_FAILED,
    Reason.UPSTREAM_SLOW: problems.UPSTREAM_TOO_SLOW,
    Reason.REFUSED: problems.UPSTREAM_REFUSED,
    Reason.UNAVAILABLE: problems.UNAVAILABLE,
}
ACCEPTED_MESSAGE = "Accepted: the signature will be sent to the webhook_url."
ACCEPTED_TO_POLL_MESSAGE = "Accepted: the signature will be found at the status_url."


def signed(request_id: str, result: Signed) -> JSONResponse:
    """Return the signature."""
    return JSONResponse({"request_id": request_id, "status": 200, "signature": result.signature})


def declined(request_id: str, result: Declined) -> JSONResponse:
    """Return why there is no signature and nothing was accepted."""
    kind = DECLINED[result.reason]
    detail = f"{kind.detail}: it answered {result.upstream_status}." if result.upstream_status else ""
    return problem(request_id, kind, detail, _retry_after(result.retry_after_ms))


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


def _retry_after(wait_ms: int | None) -> dict[str, str] | None:
    return None if wait_ms is None else {"Retry-After": str(math.ceil(wait_ms / 1000))}
