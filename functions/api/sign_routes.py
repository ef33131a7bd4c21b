"""`/crypto/sign`, and the description of its webhook."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Header, Query, Request, Response

from api import responses
from api.inputs import Message, Reference, SignBody, WebhookUrl, check_webhook_url
from api.models import Failed, SignAnswer, Signed
from api.repeats import parse_key
from api.services import Services, Wired
from api.signing import Accepted, Ask, Declined
from api.urls import base_url
from core.claim import new_claim
from core.egress import with_own
from web import problems
from web.access import KEYED, Caller
from web.described import (
    ID,
    INVALID,
    OPEN,
    UNAUTHORIZED,
    UNREADABLE_BODY,
    Responses,
    examples,
    failures,
    headers,
    refused,
)
from web.models import SIGNATURE_EXAMPLE, TIME_EXAMPLE, Absent
from web.negotiation import preferences, preferred_wait_s
from web.strict import JsonBody, StrictRoute

Prefer = Annotated[
    str | Absent,
    Header(
        alias="Prefer",
        description="`respond-async`: accept the request without a webhook too; you poll its status. "
        "`wait=1`: answer within one second instead of two",
        examples=["respond-async, wait=1"],
    ),
]
IdempotencyKey = Annotated[
    str | Absent,
    Header(
        alias="Idempotency-Key",
        description="1 to 255 characters of your choice, best a UUID in quotes: for 24 hours the same key "
        "with the same parameters gets the first answer again, if that was a 200 or 202",
        examples=['"8e03978e-40d5-43e8-bc93-6894a57f9324"'],
    ),
]
SIGNED = {"request_id": ID, "status": 200, "signature": SIGNATURE_EXAMPLE}
ACCEPTED = {
    "request_id": ID,
    "status": 202,
    "message": "Accepted: the service will send the signature to the webhook_url.",
    "estimated_ready_at": TIME_EXAMPLE,
    "status_url": f"https://relay.example/crypto/requests/{ID}?token=1801209631.q83vEjRWeJCrze8SNFZ4kKvN7xI",
}
SIGN_ANSWERS: Responses = {
    200: {
        "description": "Signed in time, or the signature is known already",
        "headers": headers("Preference-Applied"),
        **examples(signed=SIGNED),
    },
    202: {
        "model": SignAnswer,
        "description": "Not signed in time, but accepted: the outcome is sent to the `webhook_url`, and is "
        "at the `status_url`. No other answer queues anything",
        "headers": headers("Location", "Retry-After", "Preference-Applied"),
        **examples(accepted=ACCEPTED),
    },
    **UNAUTHORIZED,
    **INVALID,
    **refused("The first request with this Idempotency-Key has no answer yet", problems.STILL_ANSWERING),
    **refused(
        "No call is possible now, and nothing is queued",
        problems.LIMIT_REACHED,
        problems.UPSTREAM_LIMITED,
        problems.CALL_IN_PROGRESS,
        problems.BACKLOG_TOO_LONG,
        problems.CLIENT_BACKLOG_FULL,
        problems.MESSAGE_WAITERS_FULL,
        problems.CLIENT_REQUESTS_FULL,
    ),
    **failures(problems.PAUSED),
    **refused(
        "The upstream failed or refuses this message; nothing is queued",
        problems.UPSTREAM_FAILED,
        problems.UPSTREAM_REFUSED,
    ),
    **refused("The upstream is too slow; nothing is queued", problems.UPSTREAM_TOO_SLOW),
}


async def outcome(
    body: Annotated[Signed | Failed, Body()],
    webhook_id: Annotated[
        str, Header(description="The request's id, the same at every attempt: handle each id once")
    ],
    webhook_timestamp: Annotated[
        str, Header(description="When this attempt was signed, in seconds since the epoch")
    ],
    webhook_signature: Annotated[
        str, Header(description="`v1,<base64>`, and `v1a,<base64>` where configured, separated by spaces")
    ],
) -> None:
    """Receive the outcome."""


def callback(expression: str, operation_id: str) -> list[Any]:
    """Describe the webhook. The receiver answers it, not this service."""
    callbacks = APIRouter()
    callbacks.post(
        expression,
        operation_id=operation_id,
        tags=["signing"],
        summary="The one outcome of an accepted request, sent at least once",
        description="Signed by Standard Webhooks. After any answer but 2xx it is sent again; 410 ends it.",
        status_code=204,
        response_description="Received; any other 2xx means the same",
        responses={
            410: {"description": "Never send this again"},
            "default": {"description": "Sent again later"},
        },
        openapi_extra=OPEN,
    )(outcome)
    return callbacks.routes


router = APIRouter(route_class=StrictRoute, tags=["signing"])


@router.get(
    "/crypto/sign",
    operation_id="sign",
    summary="Sign a message, now or later",
    description="The upstream's own call, with an optional `webhook_url`. Answers within two seconds.",
    response_model=SignAnswer,
    responses=SIGN_ANSWERS,
    callbacks=callback("{$request.query.webhook_url}", "receiveOutcome"),
    dependencies=KEYED,
)
async def sign(
    request: Request,
    services: Wired,
    client: Caller,
    message: Annotated[Message, Query()],
    webhook_url: Annotated[WebhookUrl | Absent, Query()] = None,
    reference: Annotated[Reference | Absent, Query()] = None,
    _prefer: Prefer = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Sign a message, now or later."""
    body = SignBody(message=message, webhook_url=webhook_url, reference=reference)
    return await _sign(request, services, client, body, idempotency_key)


@router.post(
    "/crypto/sign",
    operation_id="signPosted",
    summary="Sign a message from a JSON body",
    description="Like the GET, but the message is not in the URL.",
    response_model=SignAnswer,
    responses={**SIGN_ANSWERS, **UNREADABLE_BODY},
    callbacks=callback("{$request.body#/webhook_url}", "receiveOutcomeOfPosted"),
    dependencies=KEYED,
)
async def sign_posted(
    request: Request,
    services: Wired,
    client: Caller,
    body: Annotated[SignBody, Depends(JsonBody(SignBody))],
    _prefer: Prefer = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Sign the message of a JSON body."""
    return await _sign(request, services, client, body, idempotency_key)


async def _sign(
    request: Request, services: Services, client: str, body: SignBody, key: str | None
) -> Response:
    request_id, settings = request.state.request_id, services.settings
    policy = with_own(settings.egress, base_url(request, settings.public_url))
    webhook_url = check_webhook_url(body.webhook_url or "", policy)
    preferred = preferences(request.headers.getlist("prefer"))
    keep = "respond-async" in preferred
    ask = Ask(request_id, client, body.message, webhook_url, keep, body.reference or "")

    async def work(request_id: str) -> Response:
        repeated = request_id != ask.request_id
        response = await _answer(request, services, replace(ask, request_id=request_id, repeated=repeated))
        if response.status_code in {200, 202} and (applied := _applied(ask, preferred)):
            response.headers["Preference-Applied"] = applied
        return response

    if key is None:
        return await work(request_id)
    parameters = json.dumps([body.message, webhook_url, keep, ask.reference])
    claim = new_claim(client, parse_key(key), parameters, request_id, services.clock.now_ms())
    return await services.repeats.answer(claim, request.state.deadline, work)


def _applied(ask: Ask, preferred: Mapping[str, str]) -> str:
    """Return the preferences that count, as RFC 7240 has them."""
    wait_s = preferred_wait_s(preferred)
    return ", ".join([*(["respond-async"] if ask.keep else []), *([f"wait={wait_s}"] if wait_s else [])])


async def _answer(request: Request, services: Services, ask: Ask) -> Response:
    """Sign within the deadline."""
    result = await services.signing.sign(ask, request.state.deadline)
    if isinstance(result, Declined):
        return responses.declined(ask.request_id, result, services.randomness.fraction())
    if isinstance(result, Accepted):
        token = await services.access.token(request, ask.request_id)
        requests_url = f"{base_url(request, services.settings.public_url)}/crypto/requests"
        status_url = f"{requests_url}/{ask.request_id}?token={token}"
        return responses.accepted(result, status_url, services.clock.now_ms())
    return responses.signed(ask.request_id, result)
