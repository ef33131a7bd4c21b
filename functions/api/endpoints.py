"""What each path answers."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from api import responses
from api.inputs import Message, SignBody, WebhookUrl, check_webhook_url, prefers_async, wants_page
from api.models import Welcome
from api.settings import ApiSettings
from api.signing import Accepted, Ask, Signed, Signing
from api.statuses import Statuses
from core.errors import Unavailable
from core.secrets import Secrets
from ports import Clock, Randomness, Telemetry
from web import pages
from web.access import Access, Caller
from web.bodies import status
from web.models import Absent, Headline, reply
from web.problems import NotFound
from web.strict import JsonBody

NAME = "Signing Relay"
STATUS_PAGE = Path(__file__).parent / "status.html"
DOCS_PAGE = Path(__file__).parent / "docs.html"
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
        description="`respond-async`: accept the request without a webhook too; its result is polled for",
        examples=["respond-async"],
    ),
]
Token = Annotated[
    str | Absent,
    Query(description="From a `status_url`: opens that one request until it expires"),
]


@dataclass(frozen=True, slots=True)
class Services:
    """What the interface needs, wired once. `headline`: what `/health` tells operators."""

    signing: Signing
    statuses: Statuses
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
        webhook_url: Annotated[WebhookUrl, Query()] = "",
        _: Prefer = None,
    ) -> Response:
        """Sign a message, now or later."""
        return await self._sign(request, client, message, webhook_url)

    async def sign_posted(
        self,
        request: Request,
        client: Caller,
        body: Annotated[SignBody, Depends(JsonBody(SignBody))],
        _: Prefer = None,
    ) -> Response:
        """Sign the message of a JSON body."""
        return await self._sign(request, client, body.message, body.webhook_url or "")

    async def _sign(self, request: Request, client: str, message: str, webhook_url: str) -> Response:
        services, request_id = self._services, request.state.request_id
        keep = prefers_async(request.headers.getlist("prefer"))
        webhook_url = check_webhook_url(webhook_url, services.settings.egress)
        ask = Ask(request_id, client, message, webhook_url, keep)
        result = await services.signing.sign(ask, request.state.deadline)
        if isinstance(result, Signed):
            return responses.signed(request_id, result)
        if isinstance(result, Accepted):
            token = await self._access.token(request, request_id)
            status_url = f"{self._base_url(request)}/crypto/requests/{request_id}?token={token}"
            return responses.accepted(result, status_url, services.clock.now_ms(), asked_async=keep)
        return responses.declined(request_id, result)

    async def status(self, request: Request, request_id: str, token: Token = None) -> Response:
        """Say where an accepted request stands; browsers are sent to the page that shows it."""
        if wants_page(request.headers.get("accept", "")):
            query = f"?{request.url.query}" if request.url.query else ""
            return RedirectResponse(f"{request_id}/page{query}", 303, {"Vary": "Accept"})
        viewer = await self._access.viewer_of(request, request_id, token)
        found = await self._services.statuses.find(request_id, viewer, request.state.deadline)
        if found is None:
            raise NotFound
        return status(found)

    async def status_page(self) -> Response:
        """Show a page without any data, which asks for the same as JSON."""
        return pages.page(STATUS_PAGE)

    async def openapi(self, request: Request) -> Response:
        """Return the description of this interface."""
        return JSONResponse(self._document(request))

    async def docs(self, request: Request) -> Response:
        """Show the same to people."""
        from api import reference  # noqa: PLC0415 - asked for rarely: no cold start pays for it

        return pages.page(DOCS_PAGE, {"<!-- content -->": reference.content(self._document(request))})

    def _document(self, request: Request) -> dict[str, Any]:
        from api import openapi  # noqa: PLC0415 - as above

        return openapi.document(request.app, self._base_url(request))

    async def key_set(self, request: Request) -> Response:
        """Return the public keys that verify our webhooks: those that sign, and retired ones for a while."""
        secrets = await self._services.secrets()
        public_keys = [*secrets.public_keys, *secrets.retired_public_keys]
        return responses.key_set(request.state.request_id, public_keys)

    async def health(self, request: Request) -> Response:
        """Say which part is up."""
        checks = self._services.checks
        # A cold start that has used up the time is no reason to call a part down that was not asked.
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
        """Where callers find us: what the settings say, else what the request itself shows."""
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
    """Return the path that a REST gateway puts before ours: its stage, or what a domain maps to it."""
    full = str((event.get("requestContext") or {}).get("path") or "")
    own = str(event.get("path") or "")
    return full.removesuffix(own) if own and full.endswith(own) else ""
