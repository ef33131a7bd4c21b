"""Descriptions of answers for the OpenAPI document, in addition to their models."""

from typing import Any

from web import problems
from web.problems import PROBLEM_TYPE, Kind, body

Responses = dict[int | str, dict[str, Any]]

ID = "01a209d9-5b1c-7c3e-9d52-0f2b8f0b6a11"
HEADERS: dict[str, dict[str, Any]] = {
    "Location": {"description": "The `status_url`", "schema": {"type": "string", "format": "uri"}},
    "Retry-After": {
        "description": "Whole seconds to wait before the next request",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Preference-Applied": {
        "description": "The preferences that were applied",
        "schema": {"type": "string"},
    },
    "WWW-Authenticate": {
        "description": "How to authenticate",
        "schema": {"type": "string"},
    },
    "ETag": {
        "description": "Names this state; weak, since each answer has an id of its own",
        "schema": {"type": "string"},
    },
}


def headers(*names: str) -> dict[str, Any]:
    """Describe headers."""
    return {name: HEADERS[name] for name in names}


def examples(**named: Any) -> dict[str, Any]:
    """Describe a JSON answer by examples, beside its model."""
    return {"content": {"application/json": {"examples": {name: {"value": named[name]} for name in named}}}}


def refused(description: str, *kinds: Kind, **more: Any) -> Responses:
    """Describe problems of one status, each with an example; with Retry-After if trying again may help."""
    name = "InvalidParameterProblem" if problems.INVALID_PARAMETER in kinds else "Problem"
    members = {"parameter": "message"} if name != "Problem" else {}
    status = kinds[0].status
    headers_of = {
        problems.UNAUTHORIZED.status: headers("WWW-Authenticate"),
        **dict.fromkeys((409, 429, 502, 503, 504), headers("Retry-After")),
    }
    return {
        status: {
            "description": description,
            "headers": headers_of.get(status, {}),
            "content": {
                PROBLEM_TYPE: {
                    "schema": {"$ref": f"#/components/schemas/{name}"},
                    "examples": {kind.name: {"value": {**body(kind, ID), **members}} for kind in kinds},
                }
            },
            **more,
        }
    }


def failures(*more: Kind) -> Responses:
    """Describe the failures of every operation that reads or writes; `more`: other reasons for a 503."""
    unavailable = (problems.UNAVAILABLE, problems.SERVICE_UNAVAILABLE, *more)
    return {
        **refused("An unexpected error; the logs have it under the request's id", problems.INTERNAL),
        **refused("The service could not read or write in time", *unavailable),
    }


UNAUTHORIZED = refused("The key is missing or wrong", problems.UNAUTHORIZED)
NOT_FOUND = refused("No such request, or it belongs to another caller", problems.NOT_FOUND)
INVALID = refused("A parameter is not usable; `parameter` names it", problems.INVALID_PARAMETER)
UNREADABLE_BODY = {
    **refused("The body is not a JSON object", problems.MALFORMED_BODY),
    **refused("The body is too large", problems.BODY_TOO_LARGE),
    **refused("The body is not JSON by its Content-Type, or is compressed", problems.UNSUPPORTED_MEDIA_TYPE),
}
OPEN: dict[str, Any] = {"security": []}
"""Options of an operation that needs no key."""
BY_THE_GATEWAY: Responses = {
    "4XX": refused("Refused by the gateway before it reached the service", problems.TOO_MANY_REQUESTS)[429]
}
PAGE: Responses = {
    200: {"description": "A page", "content": {"text/html": {"schema": {"type": "string"}}}},
    **BY_THE_GATEWAY,
}
