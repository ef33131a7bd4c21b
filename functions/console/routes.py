"""The console's routes, which the API mounts."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from console import views
from console.dead_letters import DeadLetters
from console.models import ConsoleState, ReplayBody
from console.overview import Console
from web import pages, problems
from web.access import Access, viewer
from web.bodies import Found, status
from web.described import (
    INVALID,
    NOT_FOUND,
    PAGE,
    UNAUTHORIZED,
    UNREADABLE_BODY,
    failures,
    headers,
    refused,
)
from web.models import RequestStatus
from web.problems import NotFound
from web.strict import JsonBody, StrictRoute, strict_query

CONSOLE_PAGE = Path(__file__).parent / "console.html"


class Routes:
    """What each path answers."""

    def __init__(self, console: Console, dead_letters: DeadLetters, access: Access) -> None:
        self._console = console
        self._dead_letters = dead_letters
        self._access = access

    async def page(self) -> Response:
        """Show the console: a page without any data, which asks its reader for a key."""
        return pages.page(CONSOLE_PAGE)

    async def state(self, request: Request) -> Response:
        """Say where the service stands, as far as the key may see."""
        viewer, deadline = await self._access.viewer(request), request.state.deadline
        overview = await self._console.overview(viewer, deadline)
        dead_letters = await self._dead_letters.counts(deadline) if viewer.sees_all else None
        known_etag = request.headers.get("if-none-match", "")
        return views.overview(request.state.request_id, overview, dead_letters, known_etag)

    async def replay(
        self, request: Request, body: Annotated[ReplayBody, Depends(JsonBody(ReplayBody))]
    ) -> Response:
        """Start the delivery of a request's webhook again."""
        viewer = await self._access.viewer(request)
        replayed = await self._console.replay(body.request_id, viewer, request.state.deadline)
        if replayed is None:
            raise NotFound
        return status(Found(replayed))


def router(console: Console, dead_letters: DeadLetters, access: Access) -> APIRouter:
    """Return the routes."""
    routes = Routes(console, dead_letters, access)
    mounted = APIRouter(route_class=StrictRoute, tags=["console"])
    mounted.get(
        "/console",
        operation_id="showConsole",
        summary="The console, for people",
        responses=PAGE,
        openapi_extra={"security": []},
    )(routes.page)
    mounted.get(
        "/console/state",
        operation_id="getConsoleState",
        summary="The window, the queue, what is unfinished, and what ended last",
        description="The requests that are due first (open, or with a webhook to come), the last whose "
        "webhook was given up and the last others that ended. A caller sees its own, an operator all.",
        response_model=ConsoleState,
        responses={
            200: {"headers": headers("ETag")},
            304: {"description": "As you have it"},
            **UNAUTHORIZED,
            **INVALID,
            **failures(),
        },
        dependencies=[Depends(viewer), Depends(strict_query)],
    )(routes.state)
    mounted.post(
        "/console/replay",
        operation_id="replayDelivery",
        summary="Start the delivery of a request's webhook again",
        response_model=RequestStatus,
        responses={
            **UNREADABLE_BODY,
            **UNAUTHORIZED,
            **NOT_FOUND,
            **refused("There is no webhook to send again now", problems.NOT_REPLAYABLE),
            **INVALID,
            **failures(),
        },
        dependencies=[Depends(viewer), Depends(strict_query)],
    )(routes.replay)
    return mounted
