"""JSON bodies: parses those of requests, and builds the body that shows a request's state."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, overload

from fastapi import Response

from core.job import Job
from core.request import Request
from core.words import explain
from web import problems
from web.models import Delivery, Failure, Progress, RequestStatus, reply
from web.problems import InvalidParameter, RequestProblem

BODY_BYTES_MAX = 32_768


@dataclass(frozen=True, slots=True)
class Found:
    """A request, its job, and what is known about its next call (None: not known, or there is none).

    `ready_at_ms`: when that call should have ended. `position`: in its caller's queue of fresh jobs, from 1.
    `called`: whether a call since its acceptance has failed.
    """

    request: Request
    job: Job | None = None
    ready_at_ms: int | None = None
    position: int | None = None
    called: bool = False


def parse_body(body: bytes, content_type: str) -> dict[str, Any]:
    """Return the JSON object in a body; no member may be given twice.

    Raises `RequestProblem`: it is no JSON, too large or malformed, or names a member twice.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise RequestProblem(problems.UNSUPPORTED_MEDIA_TYPE)
    if len(body) > BODY_BYTES_MAX:
        raise RequestProblem(problems.BODY_TOO_LARGE, f"The body must have at most {BODY_BYTES_MAX} bytes.")
    try:
        values = json.loads(body.decode(), object_pairs_hook=once_each)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise RequestProblem(problems.MALFORMED_BODY)
    return values


def once_each(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return values by name; raises `InvalidParameter` for a name that is given twice."""
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise InvalidParameter(name, "must be given once")
        values[name] = value
    return values


@overload
def timestamp(at_ms: int) -> str: ...
@overload
def timestamp(at_ms: int | None) -> str | None: ...
def timestamp(at_ms: int | None) -> str | None:
    """Return RFC 3339 in UTC with milliseconds."""
    if at_ms is None:
        return None
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def status(found: Found) -> Response:
    """Return the answer with a request's state."""
    request, job = found.request, found.job
    called = max(0, (job.attempts if job else 0) - request.attempts_before)
    body = RequestStatus(
        request_id=request.id,
        status=200,
        state=state(request, called=found.called),
        reference=request.reference or None,
        attempts=called if request.open else request.calls,
        position=found.position,
        created_at=timestamp(request.created_ms),
        estimated_ready_at=timestamp(found.ready_at_ms),
        last_error=explain(job.error) if request.open and job and job.error else None,
        finished_at=timestamp(request.closed_ms or None),
        signature=request.signature or None,
        failure=failure(request),
        has_webhook=bool(request.webhook_url),
        delivery=delivery(request),
    )
    return reply(body, headers={"Cache-Control": "no-store"})


def failure(request: Request) -> Failure | None:
    """Return why a request has no signature."""
    if request.failure is None:
        return None
    failed = request.failure
    return Failure(status=failed.status, reason=failed.reason, message=failed.message)


def delivery(request: Request) -> Delivery:
    """Return the state of a request's webhook."""
    record, pending = request.delivery, request.delivery_due
    next_ms = max(record.not_before_ms, record.until_ms) if pending else None
    return Delivery(
        state=record.state.value,
        attempts=record.attempts,
        next_attempt_at=timestamp(next_ms),
        reason=record.reason or None,
        excerpt=record.excerpt or None,
        ended_at=timestamp(record.ended_ms or None),
    )


def state(request: Request, *, called: bool) -> Progress:
    """Return a request's state as callers are told it; `called`: a call since its acceptance has failed."""
    if request.public_state == "open":
        return "retrying" if called else "waiting"
    return request.public_state
