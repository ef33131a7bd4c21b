"""The routes about the service itself: its keys, its health and its description."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from api import responses
from api.models import Health, KeySet, Welcome
from api.services import Services, Wired
from api.urls import base_url
from core.errors import Unavailable
from web import pages
from web.described import BY_THE_GATEWAY, OPEN, PAGE, failures
from web.models import reply
from web.strict import StrictRoute

NAME = "Signing Relay"
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

router = APIRouter(route_class=StrictRoute, tags=["service"])


@router.get(
    "/.well-known/jwks.json",
    operation_id="getKeySet",
    summary="The public keys of the webhooks' `v1a` signatures",
    response_model=KeySet,
    responses={**failures(), **BY_THE_GATEWAY},
    openapi_extra=OPEN,
)
async def key_set(request: Request, services: Wired) -> Response:
    """Return the public keys that verify webhooks: those that sign, and retired ones for a while."""
    secrets = await services.secrets()
    public_keys = [*secrets.public_keys, *secrets.retired_public_keys]
    return responses.key_set(request.state.request_id, public_keys)


@router.get(
    "/health",
    operation_id="getHealth",
    summary="Which parts are up",
    response_model=Health,
    responses={503: {"model": Health, "description": "A part is down"}, **BY_THE_GATEWAY},
    openapi_extra=OPEN,
)
async def health(request: Request, services: Wired) -> Response:
    """Return which parts are up."""
    # If a cold start has used up the time, a part that was not checked must not be reported as down.
    limit_s = min(HEALTH_LIMIT_S, max(HEALTH_LEAST_S, request.state.deadline.left_s()))
    headline, results = await asyncio.gather(
        services.headline(request),
        asyncio.gather(*(_is_up(check, limit_s) for check in services.checks.values())),
    )
    parts = dict(zip(services.checks, results, strict=True))
    return responses.health(request.state.request_id, parts, headline)


@router.get(
    "/",
    operation_id="getWelcome",
    summary="The service's name and endpoints",
    response_model=Welcome,
    responses=BY_THE_GATEWAY,
    openapi_extra=OPEN,
)
async def welcome(request: Request) -> Response:
    """Return the service's name and its endpoints."""
    request_id = request.state.request_id
    return reply(Welcome(request_id=request_id, status=200, message=NAME, endpoints=ENDPOINTS))


@router.get(
    "/openapi.json",
    operation_id="getOpenapi",
    summary="This document",
    response_model=dict[str, Any],
    responses=BY_THE_GATEWAY,
    openapi_extra=OPEN,
)
async def openapi(request: Request, services: Wired) -> Response:
    """Return the description of this interface."""
    return JSONResponse(_document(request, services))


@router.get(
    "/docs",
    operation_id="showDocumentation",
    summary="This document, for people",
    responses=PAGE,
    openapi_extra=OPEN,
)
async def docs(request: Request, services: Wired) -> Response:
    """Return the description of this interface as an HTML page."""
    from api import reference  # noqa: PLC0415 - rarely needed, and slow to load at a cold start

    content = reference.content(_document(request, services))
    return pages.page(DOCS_PAGE, {"<!-- content -->": content})


def _document(request: Request, services: Services) -> dict[str, Any]:
    from api import openapi  # noqa: PLC0415 - as above

    return openapi.document(request.app, base_url(request, services.settings.public_url))


async def _is_up(check: Callable[[], Awaitable[object]], limit_s: float) -> bool:
    try:
        async with asyncio.timeout(limit_s):
            await check()
    except (Unavailable, TimeoutError):
        return False
    return True
