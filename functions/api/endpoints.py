"""The handlers of the API's paths."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from api import responses
from api.inputs import Message, Reference, SignBody, WebhookUrl, check_webhook_url
from api.models import Welcome
from api.own import Own
from api.repeats import Repeats, parse_key
from api.settings import ApiSettings
from api.signing import Accepted, Ask, Signed, Signing
from api.statuses import Statuses
from core.claim import new_claim
from core.egress import with_own
from core.errors import Unavailable
from core.request import Request as SigningRequest
from core.secrets import Secrets
from ports import Clock, Randomness, Telemetry
from web import pages
from web.access import Access, Caller, Viewer
from web.bodies import Found, status
from web.deadline import Deadline
from web.models import Absent, Headline, reply
from web.negotiation import preferences, wants_page
from web.problems import NotFound
from web.strict import JsonBody

NAME = "Signing Relay"
STATUS_PAGE = Path(__file__).parent / "status.html"
DOCS_PAGE = Path(__file__).parent / "docs.html"
LISTED_MAX = 100
OwnState = Literal["open", "signed", "failed", "cancelled"]
HEALTH_LIMIT_S = 1.0
HEALTH_LEAST_S = 0.3
ENDPOINTS = {
    "sign": "GET /crypto/sign?message=&webhook_url=, POST /crypto/sign",
    "status": "GET /crypto/requests/{request_id}",
    "console": "GET /console",
    "health": "GET /health",
    "documentation": "GET /docs",
}

Prefer = Annotated[
    str | Absent,
    Header(
        alias="Prefer",
        description="`respond-async`: accept the request without a webhook too; its result is polled for. "
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
Token = Annotated[
    str | Absent,
    Query(description="From a `status_url`: opens that one request until it expires"),
]


@dataclass(frozen=True, slots=True)
class Services:
    """What the handlers need, wired once. `headline`: the part of `/health` that only operators get."""

    signing: Signing
    repeats: Repeats
    statuses: Statuses
    own: Own
    replay: Callable[[str, Viewer, Deadline], Awaitable[SigningRequest | None]]
    access: Access
    mounted: Sequence[APIRouter]
    headline: Callable[[Request], Awaitable[Headline | None]]
    secrets: Callable[[], Awaitable[Secrets]]
    checks: Mapping[str, Callable[[], Awaitable[object]]]
    clock: Clock
    randomness: Randomness
    telemetry: Telemetry
    settings: ApiSettings


class Endpoints:
    """The API's own paths."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._access = services.access

    async def sign(
        self,
        request: Request,
        client: Caller,
        message: Annotated[Message, Query()],
        webhook_url: Annotated[WebhookUrl | Absent, Query()] = None,
        reference: Annotated[Reference | Absent, Query()] = None,
        _prefer: Prefer = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        """Sign a message, now or later."""
        body = SignBody(message=message, webhook_url=webhook_url, reference=reference)
        return await self._sign(request, client, body, idempotency_key)

    async def sign_posted(
        self,
        request: Request,
        client: Caller,
        body: Annotated[SignBody, Depends(JsonBody(SignBody))],
        _prefer: Prefer = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        """Sign the message of a JSON body."""
        return await self._sign(request, client, body, idempotency_key)

    async def _sign(self, request: Request, client: str, body: SignBody, key: str | None) -> Response:
        services, request_id = self._services, request.state.request_id
        policy = with_own(services.settings.egress, self._base_url(request))
        webhook_url = check_webhook_url(body.webhook_url or "", policy)
        preferred = preferences(request.headers.getlist("prefer"))
        keep = "respond-async" in preferred
        ask = Ask(request_id, client, body.message, webhook_url, keep, body.reference or "")

        wait_s = responses.whole_seconds(preferred.get("wait", ""))

        async def work(request_id: str) -> Response:
            return await self._answer(request, replace(ask, request_id=request_id), wait_s)

        if key is None:
            return await work(request_id)
        parameters = json.dumps([body.message, webhook_url, keep, ask.reference])
        claim = new_claim(client, parse_key(key), parameters, request_id, services.clock.now_ms())
        return await services.repeats.answer(claim, request.state.deadline, work)

    async def _answer(self, request: Request, ask: Ask, wait_s: int | None) -> Response:
        """Sign within the caller's own deadline, if it has one; `wait_s`: in whole seconds, from 1."""
        services, deadline = self._services, request.state.deadline
        result = await services.signing.sign(ask, deadline.within(wait_s * 1000) if wait_s else deadline)
        if isinstance(result, Signed):
            response = responses.signed(ask.request_id, result)
        elif isinstance(result, Accepted):
            token = await self._access.token(request, ask.request_id)
            status_url = f"{self._base_url(request)}/crypto/requests/{ask.request_id}?token={token}"
            response = responses.accepted(result, status_url, services.clock.now_ms())
        else:
            return responses.declined(ask.request_id, result, services.randomness.fraction())
        applied = [*(["respond-async"] if ask.keep else []), *([f"wait={wait_s}"] if wait_s else [])]
        if applied:
            response.headers["Preference-Applied"] = ", ".join(applied)
        return response

    async def status(self, request: Request, request_id: str, token: Token = None) -> Response:
        """Return the state of an accepted request; redirect browsers to the page that shows it."""
        if wants_page(request.headers.get("accept", "")):
            query = f"?{request.url.query}" if request.url.query else ""
            return RedirectResponse(f"{request_id}/page{query}", 303, {"Vary": "Accept"})
        viewer = await self._access.viewer_of(request, request_id, token)
        found = await self._services.statuses.find(request_id, viewer, request.state.deadline)
        if found is None:
            raise NotFound
        return status(found)

    async def own(
        self,
        request: Request,
        client: Caller,
        state: Annotated[OwnState | Absent, Query(description="Only those in this state")] = None,
        limit: Annotated[int, Query(ge=1, le=LISTED_MAX, description="How many are looked at")] = 20,
        cursor: Annotated[str | Absent, Query(description="`next_cursor` of the page before")] = None,
    ) -> Response:
        """List the caller's own requests."""
        states = frozenset({state}) if state else frozenset()
        listing = await self._services.own.page(client, states, limit, cursor or "", request.state.deadline)
        return responses.own(request.state.request_id, listing)

    async def cancel(
        self,
        request: Request,
        request_id: str,
        client: Caller,
        notify: Annotated[bool, Query(description="Send the webhook, with the outcome `cancelled`")] = True,
    ) -> Response:
        """Cancel an open request."""
        deadline = request.state.deadline
        return status(
            Found(await self._services.own.cancel(request_id, Viewer(client), deadline, notify=notify))
        )

    async def replay(self, request: Request, request_id: str, client: Caller) -> Response:
        """Start the delivery of the caller's own webhook again."""
        replayed = await self._services.replay(request_id, Viewer(client), request.state.deadline)
        if replayed is None:
            raise NotFound
        return status(Found(replayed))

    async def status_page(self, request_id: str, token: Token = None) -> Response:
        """Return the status page. It has no data; it requests the same path as JSON."""
        del request_id, token  # the page reads them from its own address
        return pages.page(STATUS_PAGE)

    async def openapi(self, request: Request) -> Response:
        """Return the description of this interface."""
        return JSONResponse(self._document(request))

    async def docs(self, request: Request) -> Response:
        """Return the description of this interface as an HTML page."""
        from api import reference  # noqa: PLC0415 - rarely needed, and slow to load at a cold start

        return pages.page(DOCS_PAGE, {"<!-- content -->": reference.content(self._document(request))})

    def _document(self, request: Request) -> dict[str, Any]:
        from api import openapi  # noqa: PLC0415 - as above

        return openapi.document(request.app, self._base_url(request))

    async def key_set(self, request: Request) -> Response:
        """Return the public keys that verify webhooks: those that sign, and retired ones for a while."""
        secrets = await self._services.secrets()
        public_keys = [*secrets.public_keys, *secrets.retired_public_keys]
        return responses.key_set(request.state.request_id, public_keys)

    async def health(self, request: Request) -> Response:
        """Say which part is up."""
        checks = self._services.checks
        # If a cold start has used up the time, a part that was not checked must not be reported as down.
        limit_s = min(HEALTH_LIMIT_S, max(HEALTH_LEAST_S, request.state.deadline.left_s()))
        headline, results = await asyncio.gather(
            self._services.headline(request),
            asyncio.gather(*(_up(check, limit_s) for check in checks.values())),
        )
        parts = dict(zip(checks, results, strict=True))
        return responses.health(request.state.request_id, parts, headline)

    async def welcome(self, request: Request) -> Response:
        """Say what this is."""
        request_id = request.state.request_id
        return reply(Welcome(request_id=request_id, status=200, message=NAME, endpoints=ENDPOINTS))

    def _base_url(self, request: Request) -> str:
        """Return the service's public URL: from the settings, else from the request."""
        shown = str(request.base_url).rstrip("/") + _stage(request.scope.get("aws.event", {}))
        return self._services.settings.public_url or shown


async def _up(check: Callable[[], Awaitable[object]], limit_s: float) -> bool:
    try:
        async with asyncio.timeout(limit_s):
            await check()
    except (Unavailable, TimeoutError):
        return False
    return True


def _stage(event: Mapping[str, Any]) -> str:
    """Return the path prefix of a REST gateway: its stage, or what a custom domain maps to it."""
    full = str((event.get("requestContext") or {}).get("path") or "")
    own = str(event.get("path") or "")
    return full.removesuffix(own) if own and full.endswith(own) else ""
