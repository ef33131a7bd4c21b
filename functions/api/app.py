"""The HTTP interface. Every answer, errors included, goes through here."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters.secrets import Secrets
from api import responses
from api.deadline import BUDGET_MS, Deadline, reached_gateway_ms
from api.inputs import InvalidParameter, client_of, parse_sign_query
from api.settings import ApiSettings
from api.signing import Accepted, Ask, Signed, Signing
from api.statuses import Statuses
from core.config import VERSION
from core.errors import RelayError, Unavailable
from ports import Clock, Randomness, Telemetry

NAME = "Signing Relay"
DESCRIPTION = "Signatures that arrive: every call is answered within two seconds."
HEALTH_LIMIT_S = 1.0
HEALTH_LEAST_S = 0.3
ENDPOINTS = {
    "sign": "GET /crypto/sign?message=&webhook_url=",
    "status": "GET /crypto/requests/{request_id}",
    "health": "GET /health",
    "documentation": "GET /docs",
}


class Unauthorized(RelayError):
    """No key, or a wrong one."""


@dataclass(frozen=True, slots=True)
class Services:
    """What the interface needs, wired once."""

    signing: Signing
    statuses: Statuses
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

    async def sign(self, request: Request) -> JSONResponse:
        """Sign a message, now or later."""
        services, request_id = self._services, request.state.request_id
        deadline = request.state.deadline
        client = await self._authenticate(request)
        given = parse_sign_query(request.scope["query_string"], services.settings.egress)
        ask = Ask(request_id, client, given.message, given.webhook_url)
        result = await services.signing.sign(ask, deadline)
        if isinstance(result, Signed):
            return responses.signed(request_id, result)
        if isinstance(result, Accepted):
            status_url = self._status_url(request, request_id)
            return responses.accepted(result, status_url, services.clock.now_ms())
        return responses.declined(request_id, result)

    async def status(self, request: Request, wanted_id: str) -> JSONResponse:
        """Say where an accepted request stands."""
        deadline = request.state.deadline
        client = await self._authenticate(request)
        found = await self._services.statuses.find(wanted_id, client, deadline)
        if found is None:
            return responses.plain_problem(request.state.request_id, 404)
        return responses.status(found.request, found.job, found.ready_at_ms)

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

    async def _authenticate(self, request: Request) -> str:
        """Return the caller's name. Raises `Unauthorized`, or `Unavailable` while no key is known."""
        try:
            async with asyncio.timeout(request.state.deadline.left_s()):
                secrets = await self._services.secrets()
        except TimeoutError:
            raise Unavailable("no time was left to fetch the keys") from None
        client = client_of(request.headers.get("authorization"), secrets.clients)
        if client is None:
            raise Unauthorized("missing or unknown API key")
        return client

    def _status_url(self, request: Request, request_id: str) -> str:
        base = self._services.settings.public_url or str(request.base_url).rstrip("/")
        return f"{base}/crypto/requests/{request_id}"


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
            telemetry.event("error", {"Errors": 1}, request_id=request_id, error=repr(error))
            await responses.plain_problem(request_id, 500)(scope, receive, noting)
        used_ms = deadline.used_ms()
        telemetry.event(
            "answered",
            {"AnswerMs": used_ms, "AnswersLate": int(used_ms > BUDGET_MS), f"Answers{status // 100}xx": 1},
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


def create_app(services: Services) -> FastAPI:
    """Return the ASGI application."""
    app = FastAPI(title=NAME, version=VERSION, description=DESCRIPTION)
    app.add_middleware(Identify, services=services)
    endpoints = Endpoints(services)
    app.get("/crypto/sign")(endpoints.sign)
    app.get("/crypto/requests/{wanted_id}")(endpoints.status)
    app.get("/health")(endpoints.health)
    app.get("/")(endpoints.root)
    _add_error_handlers(app, services.telemetry)
    return app


def _add_error_handlers(app: FastAPI, telemetry: Telemetry) -> None:
    """The one table from error to HTTP status."""

    @app.exception_handler(InvalidParameter)
    async def invalid(request: Request, error: InvalidParameter) -> JSONResponse:
        return responses.invalid(request.state.request_id, error.parameter, error.expected)

    @app.exception_handler(Unauthorized)
    async def unauthorized(request: Request, error: Unauthorized) -> JSONResponse:
        headers = {"WWW-Authenticate": "ApiKey"}
        return responses.plain_problem(request.state.request_id, 401, headers, str(error))

    @app.exception_handler(Unavailable)
    async def unavailable(request: Request, error: Unavailable) -> JSONResponse:
        telemetry.event("unavailable", request_id=request.state.request_id, reason=str(error))
        return responses.plain_problem(request.state.request_id, 503, {"Retry-After": "1"})

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> JSONResponse:
        headers = dict(error.headers or {})
        return responses.plain_problem(request.state.request_id, error.status_code, headers)


async def _up(check: Callable[[], Awaitable[object]], limit_s: float) -> bool:
    try:
        async with asyncio.timeout(limit_s):
            await check()
    except (Unavailable, TimeoutError):
        return False
    return True
