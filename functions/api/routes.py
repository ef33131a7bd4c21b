"""The API's routes, and what the OpenAPI document says of them beside the models."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Header

from api.endpoints import Endpoints
from api.models import Failed, Health, KeySet, OwnRequests, SignAnswer, Signed, Welcome
from web import problems
from web.access import caller
from web.described import (
    BY_THE_GATEWAY,
    ID,
    INVALID,
    NOT_FOUND,
    PAGE,
    UNAUTHORIZED,
    UNREADABLE_BODY,
    Responses,
    examples,
    failures,
    headers,
    refused,
)
from web.models import SIGNATURE_EXAMPLE, TIME_EXAMPLE, RequestStatus
from web.strict import StrictRoute, strict_query

SIGNED = {"request_id": ID, "status": 200, "signature": SIGNATURE_EXAMPLE}
ACCEPTED = {
    "request_id": ID,
    "status": 202,
    "message": "Accepted: the signature will be sent to the webhook_url.",
    "estimated_ready_at": TIME_EXAMPLE,
    "status_url": f"https://relay.example/crypto/requests/{ID}?token=1801209631.q83vEjRWeJCrze8SNFZ4kKvN7xI",
}
OPEN: dict[str, Any] = {"security": []}
SIGN_ANSWERS: Responses = {
    200: {
        "description": "Signed in time, or known already",
        "headers": headers("Preference-Applied"),
        **examples(signed=SIGNED),
    },
    202: {
        "model": SignAnswer,
        "description": "Not signed in time, and accepted: the outcome is sent to the `webhook_url`, and is "
        "found at the `status_url`. Only after this answer is anything queued",
        "headers": headers("Location", "Retry-After", "Preference-Applied"),
        **examples(accepted=ACCEPTED),
    },
    **UNAUTHORIZED,
    **INVALID,
    **refused("The first request with this Idempotency-Key is being answered", problems.STILL_ANSWERING),
    **refused(
        "No call is possible now, and nothing is queued",
        problems.LIMIT_REACHED,
        problems.UPSTREAM_LIMITED,
        problems.CALL_IN_PROGRESS,
        problems.BACKLOG_TOO_LONG,
        problems.CLIENT_BACKLOG_FULL,
        problems.MESSAGE_WAITERS_FULL,
    ),
    **failures(problems.PAUSED),
    **refused(
        "The upstream failed, or refuses this message; nothing is queued",
        problems.UPSTREAM_FAILED,
        problems.UPSTREAM_REFUSED,
    ),
    **refused("The upstream is too slow; nothing is queued", problems.UPSTREAM_TOO_SLOW),
}


def router(endpoints: Endpoints) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(route_class=StrictRoute)
    _add_signing(routes, endpoints)
    _add_service(routes, endpoints)
    return routes


def _add_signing(routes: APIRouter, endpoints: Endpoints) -> None:
    signing: dict[str, Any] = {
        "tags": ["signing"],
        "response_model": SignAnswer,
        "dependencies": [Depends(caller), Depends(strict_query)],
    }
    routes.get(
        "/crypto/sign",
        operation_id="sign",
        summary="Sign a message, now or later",
        description="The upstream's own call with one parameter more. Answers within two seconds.",
        responses=SIGN_ANSWERS,
        callbacks=_outcome("{$request.query.webhook_url}", "receiveOutcome"),
        **signing,
    )(endpoints.sign)
    routes.post(
        "/crypto/sign",
        operation_id="signPosted",
        summary="Sign a message from a JSON body",
        description="The same as the GET, with the message out of the URL.",
        responses={**SIGN_ANSWERS, **UNREADABLE_BODY},
        callbacks=_outcome("{$request.body#/webhook_url}", "receiveOutcomeOfPosted"),
        **signing,
    )(endpoints.sign_posted)
    _add_own(routes, endpoints)
    routes.get(
        "/crypto/requests/{request_id}",
        operation_id="getRequest",
        tags=["signing"],
        summary="Where an accepted request stands",
        description="Needs a key, or the `token` of its `status_url`. Browsers are sent to the page.",
        response_model=RequestStatus,
        responses={
            303: {"description": "To browsers: the page"},
            **UNAUTHORIZED,
            **NOT_FOUND,
            **INVALID,
            **failures(),
        },
        openapi_extra={"security": [{"key": []}, {}]},
    )(endpoints.status)
    routes.get(
        "/crypto/requests/{request_id}/page",
        operation_id="showRequest",
        tags=["signing"],
        summary="The same, for people: a page that waits for the signature",
        responses=PAGE,
        openapi_extra=OPEN,
    )(endpoints.status_page)


def _add_own(routes: APIRouter, endpoints: Endpoints) -> None:
    own: dict[str, Any] = {"tags": ["signing"], "dependencies": [Depends(caller), Depends(strict_query)]}
    refusals = {**UNAUTHORIZED, **INVALID, **failures()}
    routes.get(
        "/crypto/requests",
        operation_id="listRequests",
        summary="Your own requests, newest first",
        description="A request appears a moment after its acceptance. With `state`, a page may be short or "
        "empty: go on while there is a `next_cursor`.",
        response_model=OwnRequests,
        responses=refusals,
        **own,
    )(endpoints.own)
    routes.api_route(
        "/crypto/requests/{request_id}",
        methods=["DELETE"],
        operation_id="cancelRequest",
        summary="Give an open request of yours up",
        description="Its outcome is `cancelled`. The upstream is not called for it any more; a call under "
        "way ends, and its signature is kept for others.",
        response_model=RequestStatus,
        responses={
            **refusals,
            **NOT_FOUND,
            **refused("It has another outcome already", problems.ALREADY_ENDED),
        },
        **own,
    )(endpoints.cancel)
    routes.post(
        "/crypto/requests/{request_id}/replay",
        operation_id="replayRequest",
        summary="Send a webhook of yours again, from its first attempt",
        response_model=RequestStatus,
        responses={
            **refusals,
            **NOT_FOUND,
            **refused("There is no webhook to send again now", problems.NOT_REPLAYABLE),
        },
        **own,
    )(endpoints.replay)


def _outcome(expression: str, operation_id: str) -> list[Any]:
    """Describe the webhook. The receiver answers it, not this service."""
    callbacks = APIRouter()

    async def outcome(
        body: Annotated[Signed | Failed, Body()],
        webhook_id: Annotated[
            str, Header(description="The request's id, the same at every attempt: drop what you have seen")
        ],
        webhook_timestamp: Annotated[
            str, Header(description="When this attempt was signed, in seconds since the epoch")
        ],
        webhook_signature: Annotated[
            str, Header(description="`v1,<base64>`, and `v1a,<base64>` where configured, separated by spaces")
        ],
    ) -> None:
        """Receive the outcome."""

    callbacks.post(
        expression,
        operation_id=operation_id,
        tags=["signing"],
        summary="The one outcome of an accepted request, sent at least once",
        description="Signed by Standard Webhooks. Anything but 2xx is tried again; 410 ends it.",
        status_code=204,
        response_description="Received, as is any other 2xx",
        responses={
            410: {"description": "Never send this again"},
            "default": {"description": "Sent again later"},
        },
        openapi_extra=OPEN,
    )(outcome)
    return callbacks.routes


def _add_service(routes: APIRouter, endpoints: Endpoints) -> None:
    service: dict[str, Any] = {"tags": ["service"], "openapi_extra": OPEN}
    routes.get(
        "/.well-known/jwks.json",
        operation_id="getKeySet",
        summary="The public keys of the webhooks' `v1a` signatures",
        response_model=KeySet,
        responses={**failures(), **BY_THE_GATEWAY},
        **service,
    )(endpoints.key_set)
    routes.get(
        "/health",
        operation_id="getHealth",
        summary="Which part is up",
        response_model=Health,
        responses={503: {"model": Health, "description": "Some part is down"}, **BY_THE_GATEWAY},
        **service,
    )(endpoints.health)
    routes.get(
        "/",
        operation_id="getWelcome",
        summary="What this is",
        response_model=Welcome,
        responses=BY_THE_GATEWAY,
        **service,
    )(endpoints.welcome)
    routes.get(
        "/openapi.json",
        operation_id="getOpenapi",
        summary="This document",
        response_model=dict[str, Any],
        responses=BY_THE_GATEWAY,
        **service,
    )(endpoints.openapi)
    routes.get(
        "/docs",
        operation_id="showDocumentation",
        summary="This document, for people",
        responses=PAGE,
        **service,
    )(endpoints.docs)
