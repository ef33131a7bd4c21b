"""Answers to a request to sign, and to those about the service itself."""

import math
from collections.abc import Mapping, Sequence

from fastapi import Response

from api.models import Health, Key, KeySet, OwnRequest, OwnRequests, SignAnswer
from api.own import Listing
from api.signing import Accepted, Declined, Reason, Signed
from core import webhook
from web import problems
from web.bodies import delivery, failure, timestamp
from web.models import Headline, reply
from web.problems import Kind, problem

KEY_SET_MAX_AGE_S = 300
NO_STORE = {"Cache-Control": "no-store"}

DECLINED: Mapping[Reason, Kind] = {
    Reason.LIMIT: problems.LIMIT_REACHED,
    Reason.IN_PROGRESS: problems.CALL_IN_PROGRESS,
    Reason.UPSTREAM_LIMITED: problems.UPSTREAM_LIMITED,
    Reason.PAUSED: problems.PAUSED,
    Reason.BACKLOG: problems.BACKLOG_TOO_LONG,
    Reason.CLIENT_BACKLOG: problems.CLIENT_BACKLOG_FULL,
    Reason.MESSAGE_WAITERS: problems.MESSAGE_WAITERS_FULL,
    Reason.CLIENT_REQUESTS: problems.CLIENT_REQUESTS_FULL,
    Reason.UPSTREAM_FAILED: problems.UPSTREAM_FAILED,
    Reason.UPSTREAM_SLOW: problems.UPSTREAM_TOO_SLOW,
    Reason.REFUSED: problems.UPSTREAM_REFUSED,
    Reason.UNAVAILABLE: problems.UNAVAILABLE,
}
ACCEPTED_MESSAGE = "Accepted: the service will send the signature to the webhook_url."
ACCEPTED_TO_POLL_MESSAGE = "Accepted: the signature will be at the status_url."


def signed(request_id: str, result: Signed) -> Response:
    """Return the signature."""
    return reply(SignAnswer(request_id=request_id, status=200, signature=result.signature))


def declined(request_id: str, result: Declined, fraction: float) -> Response:
    """Return why there is no signature and nothing was accepted. `fraction`: random, in [0, 1)."""
    kind = DECLINED[result.reason]
    detail = f"{kind.detail}: it answered {result.upstream_status}." if result.upstream_status else ""
    if result.reason is Reason.UNAVAILABLE:
        return problem(request_id, kind, detail, problems.retry_soon(fraction))
    return problem(request_id, kind, detail, _retry_after(result.retry_after_ms))


def accepted(result: Accepted, status_url: str, now_ms: int) -> Response:
    """Return the 202: the request is stored and will get an outcome."""
    request = result.request
    wait_ms = max(0, result.ready_at_ms - now_ms) if result.ready_at_ms else None
    body = SignAnswer(
        request_id=request.id,
        status=202,
        message=ACCEPTED_MESSAGE if request.webhook_url else ACCEPTED_TO_POLL_MESSAGE,
        estimated_ready_at=timestamp(result.ready_at_ms),
        no_estimate=None if result.ready_at_ms else "paused" if result.paused else "not_known",
        status_url=status_url,
    )
    return reply(body, 202, {"Location": status_url, **_retry_after(wait_ms), **NO_STORE})


def own(request_id: str, listing: Listing) -> Response:
    """Return a page of a caller's requests."""
    rows = [
        OwnRequest(
            request_id=request.id,
            state=request.public_state,
            reference=request.reference or None,
            created_at=timestamp(request.created_ms),
            finished_at=timestamp(request.closed_ms or None),
            failure=failure(request),
            delivery=delivery(request),
        )
        for request in listing.requests
    ]
    body = OwnRequests(
        request_id=request_id, status=200, requests=rows, next_cursor=listing.next_cursor or None
    )
    return reply(body, headers=NO_STORE)


def health(request_id: str, parts: Mapping[str, bool], headline: Headline | None) -> Response:
    """Return which parts are up, with status 503 if one is down."""
    up = all(parts.values())
    body = Health(
        request_id=request_id,
        status=200 if up else 503,
        message="ok" if up else "degraded",
        parts={name: "up" if fine else "down" for name, fine in parts.items()},
        headline=headline,
    )
    return reply(body, body.status)


def key_set(request_id: str, public_keys: Sequence[str]) -> Response:
    """Return the public keys of webhooks' signatures."""
    keys = [Key.model_validate(key) for key in webhook.public_key_set(public_keys)["keys"]]
    headers = {"Cache-Control": f"public, max-age={KEY_SET_MAX_AGE_S}"}
    return reply(KeySet(request_id=request_id, status=200, keys=keys), headers=headers)


def _retry_after(wait_ms: int | None) -> dict[str, str]:
    return {} if wait_ms is None else {"Retry-After": str(math.ceil(wait_ms / 1000))}
