"""Every error that a caller can get: RFC 9457 problems, each with its status, title and sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from calling.redelivery import NotReplayable
from core.errors import RelayError, Unavailable
from ports import Randomness, Telemetry
from web.models import InvalidParameterProblem, Problem, reply

PROBLEM_TYPE = "application/problem+json"
RETRY_SPREAD_S = 3
TYPES = "urn:signing-relay:problem:"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem. `name` is the end of its `type`; `detail` is the default text.

    `header`: the name and value of a header that its answers have.
    """

    status: int
    name: str
    title: str
    detail: str
    header: tuple[str, str] | None = None


def _plain(status: HTTPStatus) -> Kind:
    """Return a kind for a status that has none: its title is the status's own phrase."""
    return Kind(status, status.phrase.lower().replace(" ", "-"), status.phrase, status.phrase)


MALFORMED_BODY = Kind(400, "malformed-body", "Malformed body", "The body must be a JSON object in UTF-8.")
UNAUTHORIZED = Kind(
    401,
    "unauthorized",
    "Unauthorized",
    "The API key is missing or unknown. Send the key alone in the header Authorization.",
    ("WWW-Authenticate", "ApiKey"),
)
NOT_FOUND = Kind(404, "not-found", "Not Found", "No such request, or it belongs to another caller.")
CORS_REFUSED = Kind(400, "cors-refused", "CORS refused", "Disallowed CORS origin")
NOT_REPLAYABLE = Kind(409, "not-replayable", "Not replayable", "An attempt is under way.")
ALREADY_ENDED = Kind(409, "already-ended", "Already ended", "The request has an outcome: get its status.")
STILL_ANSWERING = Kind(
    409,
    "still-answering",
    "Still answering",
    "The first request with this Idempotency-Key has no answer yet. Try again.",
    ("Retry-After", "1"),
)
BODY_TOO_LARGE = Kind(413, "body-too-large", "Body too large", "The body is too large.")
UNSUPPORTED_MEDIA_TYPE = Kind(
    415, "unsupported-media-type", "Unsupported media type", "Send JSON with Content-Type: application/json."
)
INVALID_PARAMETER = Kind(422, "invalid-parameter", "Invalid parameter", "message: is required")
LIMIT_REACHED = Kind(
    429,
    "limit-reached",
    "Limit reached",
    "All upstream calls of this time are used, or other requests wait. Add a webhook_url to join the queue.",
)
UPSTREAM_LIMITED = Kind(
    429,
    "upstream-limited",
    "Upstream limited",
    "The upstream answered 429, so no calls are made for a while. Add a webhook_url to join the queue.",
)
CALL_IN_PROGRESS = Kind(
    429,
    "call-in-progress",
    "Call in progress",
    "A call for this message is already under way. Try again, or add a webhook_url to get its result.",
)
BACKLOG_TOO_LONG = Kind(
    429,
    "backlog-too-long",
    "Backlog too long",
    "Too many requests wait: this one would get no upstream call in time. Try again later.",
)
TOO_MANY_REQUESTS = Kind(429, "too-many-requests", "Too Many Requests", "Too many requests. Try again later.")
CLIENT_BACKLOG_FULL = Kind(
    429,
    "client-backlog-full",
    "Client backlog full",
    "Too many of your own requests wait: the rest of the queue is for other callers. Try again later.",
)
MESSAGE_WAITERS_FULL = Kind(
    429,
    "message-waiters-full",
    "Message waiters full",
    "A thousand requests already wait for this message. Try again when it is signed.",
)
CLIENT_REQUESTS_FULL = Kind(
    429,
    "client-requests-full",
    "Client requests full",
    "You have as many open requests as one caller may have. Ask again once some of them have ended.",
)
INTERNAL = _plain(HTTPStatus.INTERNAL_SERVER_ERROR)
UPSTREAM_FAILED = Kind(
    502,
    "upstream-failed",
    "Upstream failed",
    "The upstream failed to sign this message. Add a webhook_url, and the service retries it.",
)
UPSTREAM_REFUSED = Kind(
    502, "upstream-refused", "Upstream refused", "The upstream refuses to sign this message"
)
UNAVAILABLE = Kind(
    503,
    "unavailable",
    "Unavailable",
    "The service could not store the request: it is not accepted. Try again.",
)
PAUSED = Kind(
    503,
    "paused",
    "Paused",
    "An operator paused calls to the upstream. Add a webhook_url to join the queue.",
)
SERVICE_UNAVAILABLE = _plain(HTTPStatus.SERVICE_UNAVAILABLE)
UPSTREAM_TOO_SLOW = Kind(
    504,
    "upstream-too-slow",
    "Upstream too slow",
    "The upstream did not answer in time. Add a webhook_url, and the service retries it.",
)


class RequestProblem(RelayError):
    """The request can't be answered otherwise. `members` are added to the body's usual ones."""

    def __init__(self, kind: Kind, detail: str = "", **members: str) -> None:
        super().__init__(detail or kind.detail)
        self.kind = kind
        self.members: Mapping[str, Any] = members


class InvalidParameter(RequestProblem):
    """A parameter is not valid; `expected` says what is expected."""

    def __init__(self, parameter: str, expected: str) -> None:
        super().__init__(INVALID_PARAMETER, f"{parameter}: {expected}", parameter=parameter)


def first_refusal(errors: Sequence[Any], *, name_at: int) -> InvalidParameter:
    """Return the problem for the first value that a model refused.

    `name_at`: the index of the parameter's name in an error's location.
    """
    error = errors[0]
    parameter = str(error["loc"][name_at])
    if error["type"] == "missing":
        return InvalidParameter(parameter, "is required")
    if error["type"] == "value_error":
        return InvalidParameter(parameter, str(error["ctx"]["error"]))
    if error["type"] == "string_type":
        return InvalidParameter(parameter, "must be a string")
    if error["type"] == "literal_error":
        return InvalidParameter(parameter, f"must be {error['ctx']['expected']}")
    expected, _, _ = error["msg"].partition(", ")
    return InvalidParameter(parameter, expected.replace("Input should be", "must be"))


def problem(
    request_id: str, kind: Kind, detail: str = "", headers: Mapping[str, str] | None = None, **members: Any
) -> Response:
    """Return an error; `members` are added to the usual ones."""
    model = InvalidParameterProblem if kind is INVALID_PARAMETER else Problem
    headers = {**({kind.header[0]: kind.header[1]} if kind.header else {}), **(headers or {})}
    return reply(model(**body(kind, request_id, detail), **members), kind.status, headers, PROBLEM_TYPE)


def body(kind: Kind, request_id: str, detail: str = "") -> dict[str, Any]:
    """Return the members that every problem has."""
    detail = detail or kind.detail
    return {
        "request_id": request_id,
        "status": kind.status,
        "message": detail,
        "type": TYPES + kind.name,
        "title": kind.title,
        "detail": detail,
    }


def retry_soon(fraction: float) -> dict[str, str]:
    """Return when to try again after a short failure, spread over a few seconds.

    `fraction`: random, in [0, 1).
    """
    return {"Retry-After": str(1 + int(fraction * RETRY_SPREAD_S))}


def add_error_handlers(app: FastAPI, telemetry: Telemetry, randomness: Randomness) -> None:
    """Turn every error that a route raises into its problem."""

    @app.exception_handler(RequestProblem)
    async def refused(request: Request, error: RequestProblem) -> Response:
        return problem(request.state.request_id, error.kind, str(error), **error.members)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return await refused(request, first_refusal(error.errors(), name_at=1))

    @app.exception_handler(NotReplayable)
    async def not_replayable(request: Request, error: NotReplayable) -> Response:
        return problem(request.state.request_id, NOT_REPLAYABLE, str(error))

    @app.exception_handler(Unavailable)
    async def unavailable(request: Request, error: Unavailable) -> Response:
        telemetry.event("unavailable", request_id=request.state.request_id, reason=str(error))
        return problem(
            request.state.request_id, SERVICE_UNAVAILABLE, headers=retry_soon(randomness.fraction())
        )

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        headers, detail = dict(error.headers or {}), ""
        if error.status_code == HTTPStatus.NOT_FOUND:
            detail = "No such path. GET / lists the paths."
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = _allowed(request)
            detail = f"This path allows {headers['Allow']}."
        kind = _plain(HTTPStatus(error.status_code))
        return problem(request.state.request_id, kind, detail, headers)


def _allowed(request: Request) -> str:
    """Return the methods of all routes of a path; the framework names those of the first alone."""
    matching = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return ", ".join(sorted({method for route in matching for method in route.methods}))
