"""The HTTP interface. Every answer, errors included, goes through here."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import responses
from api.inputs import SignInput, parse_sign_body, parse_sign_query, prefers_async, wants_page
from api.settings import ApiSettings
from api.signing import Accepted, Ask, Signed, Signing
from api.statuses import Statuses
from core.config import VERSION
from core.errors import Unavailable, described
from core.secrets import Secrets
from ports import Clock, Randomness, Telemetry
from web import pages
from web.access import Access
from web.bodies import status
from web.deadline import BUDGET_MS, Deadline, reached_gateway_ms
from web.problems import INTERNAL, NotFound, add_error_handlers, problem

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


@dataclass(frozen=True, slots=True)
class Services:
    """What the interface needs, wired once."""

    signing: Signing
    statuses: Statuses
    access: Access
    mounted: Sequence[APIRouter]
    secrets: Callable[[], Awaitable[Secrets]]
    checks: Mapping[str, Callable[[], Awaitable[object]]]
    clock: Clock
    randomness: Randomness
    telemetry: Telemetry
    settings: ApiSettings


class Endpoints:
    """What each path answers."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._access = services.access

    async def sign(self, request: Request) -> JSONResponse:
        """Sign a message, now or later."""
        services, request_id = self._services, request.state.request_id
        client = await self._access.caller(request)
        given = await self._sign_input(request)
        keep = prefers_async(request.headers.getlist("prefer"))
        ask = Ask(request_id, client, given.message, given.webhook_url, keep)
        result = await services.signing.sign(ask, request.state.deadline)
        if isinstance(result, Signed):
            return responses.signed(request_id, result)
        if isinstance(result, Accepted):
            status_url = await self._status_url(request, request_id)
            return responses.accepted(result, status_url, services.clock.now_ms(), asked_async=keep)
        return responses.declined(request_id, result)

    async def _sign_input(self, request: Request) -> SignInput:
        """Read the query of a GET, the JSON body of a POST."""
        policy = self._services.settings.egress
        if request.method == "GET":
            return parse_sign_query(request.scope["query_string"], policy)
        content_type = request.headers.get("content-type", "")
        return parse_sign_body(await request.body(), content_type, policy)

    async def status(self, request: Request) -> Response:
        """Say where an accepted request stands; to people by a page that asks for the same as JSON."""
        if wants_page(request.headers.get("accept", "")):
            return pages.page(STATUS_PAGE)
        # Declared as a parameter, it would have FastAPI load all of pydantic.v1: 25 ms of every cold start.
        wanted_id = request.path_params["wanted_id"]
        viewer = await self._access.viewer_of(request, wanted_id)
        found = await self._services.statuses.find(wanted_id, viewer, request.state.deadline)
        if found is None:
            raise NotFound
        return status(found)

    async def openapi(self, request: Request) -> Response:
        """Return the description of this interface."""
        from api import openapi  # noqa: PLC0415 - asked for rarely: no cold start pays for it

        return JSONResponse(openapi.document(self._base_url(request)))

    async def docs(self, request: Request) -> Response:
        """Show the same to people."""
        from api import openapi, reference  # noqa: PLC0415 - as above

        content = reference.content(openapi.document(self._base_url(request)))
        return pages.page(DOCS_PAGE, {"<!-- content -->": content})

    async def key_set(self, request: Request) -> Response:
        """Return the public keys that verify our webhooks: those that sign, and retired ones for a while."""
        secrets = await self._services.secrets()
        public_keys = [*secrets.public_keys, *secrets.retired_public_keys]
        return responses.key_set(request.state.request_id, public_keys)

    async def health(self, request: Request) -> JSONResponse:
        """Say which part is up."""
        checks = self._services.checks
        # A cold start that has used up the time is no reason to call a part down that was not asked.
        limit_s = min(HEALTH_LIMIT_S, max(HEALTH_LEAST_S, request.state.deadline.left_s()))
        results = await asyncio.gather(*(_up(check, limit_s) for check in checks.values()))
        return responses.health(request.state.request_id, dict(zip(checks, results, strict=True)))

    async def root(self, request: Request) -> JSONResponse:
        """Say what this is."""
        body = {"request_id": request.state.request_id, "status": 200, "message": NAME}
        return JSONResponse({**body, "endpoints": ENDPOINTS})

    async def _status_url(self, request: Request, request_id: str) -> str:
        token = await self._access.token(request, request_id)
        return f"{self._base_url(request)}/crypto/requests/{request_id}?token={token}"

    def _base_url(self, request: Request) -> str:
        """Where callers find us: what the settings say, else what the request itself shows."""
        shown = str(request.base_url).rstrip("/") + _stage(request.scope.get("aws.event", {}))
        return self._services.settings.public_url or shown


class Identify:
    """Gives every request its id, and every answer a log line: without the query, which holds the message."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on. Whatever goes wrong unforeseen, the caller gets a 500 with the id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        clock, telemetry = self._services.clock, self._services.telemetry
        request_id = self._services.randomness.request_id(clock.now_ms())
        deadline = self._deadline(scope)
        scope.setdefault("state", {}).update(request_id=request_id, deadline=deadline)
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:  # noqa: BLE001 - the last resort
            telemetry.event("error", {"Errors": 1}, request_id=request_id, error=described(error))
            await problem(request_id, INTERNAL)(scope, receive, noting)
        used_ms = deadline.used_ms()
        telemetry.event(
            "answered",
            _metrics(scope["path"], status, used_ms),
            request_id=request_id,
            method=scope["method"],
            path=scope["path"],
            status=status,
        )

    def _deadline(self, scope: Scope) -> Deadline:
        """Count from the moment the request reached the gateway."""
        reached_ms = reached_gateway_ms(
            scope.get("aws.event", {}),
            Headers(scope=scope),
            trust_request_start=self._services.settings.trust_request_start,
            sam_local=self._services.settings.sam_local,
        )
        return Deadline.of(self._services.clock, reached_ms)


def _metrics(path: str, status: int, used_ms: int) -> dict[str, float]:
    """502 and 504 say that the upstream failed; 500 and 503 that we did."""
    return {
        "AnswerMs": used_ms,
        "AnswersLate": int(used_ms > BUDGET_MS),
        "AnswersAtOnce": int(status == 200 and path == "/crypto/sign"),  # noqa: PLR2004
        "AnswersUnavailable": int(status in {500, 503}),
        f"Answers{status // 100}xx": 1,
    }


def create_app(services: Services) -> FastAPI:
    """Return the ASGI application."""
    app = FastAPI(title=NAME, version=VERSION, openapi_url=None, redirect_slashes=False)
    app.add_middleware(Identify, services=services)
    endpoints = Endpoints(services)
    app.api_route("/crypto/sign", methods=["GET", "POST"])(endpoints.sign)
    for path, endpoint in (
        ("/crypto/requests/{wanted_id}", endpoints.status),
        ("/openapi.json", endpoints.openapi),
        ("/docs", endpoints.docs),
        ("/.well-known/jwks.json", endpoints.key_set),
        ("/health", endpoints.health),
        ("/", endpoints.root),
    ):  # whatever only shows something can be asked for its head too
        app.api_route(path, methods=["GET", "HEAD"])(endpoint)
    for router in services.mounted:
        app.include_router(router)
    add_error_handlers(app, services.telemetry)
    return app


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
