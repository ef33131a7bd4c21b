"""The console's routes, which the API mounts."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from console import views
from console.models import ConsoleHistory, ConsoleState, ReplayBody, Resumed
from console.overview import Console
from core.errors import Unavailable
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
from web.models import Headline, RequestStatus, reply
from web.problems import NotFound, Unauthorized
from web.strict import JsonBody, StrictRoute, strict_query

Hours = Annotated[Literal["1", "24"], Query(description="How far back")]


class Routes:
    """The handlers of the console's paths."""

    def __init__(self, console: Console, access: Access) -> None:
        self._console = console
        self._access = access

    async def page(self) -> Response:
        """Return the console's page. It has no data, and asks its user for a key."""
        return pages.page(views.PAGE, views.pieces())

    async def state(self, request: Request) -> Response:
        """Return the state of the service, as far as the key may see it."""
        viewer = await self._access.viewer(request)
        overview = await self._console.overview(viewer, request.state.deadline)
        known_etag = request.headers.get("if-none-match", "")
        return views.overview(request.state.request_id, overview, known_etag)

    async def history(self, request: Request, hours: Hours = "1") -> Response:
        """Return the history of the service, for operators."""
        viewer = await self._access.viewer(request)
        if not viewer.sees_all:
            raise NotFound
        points = await self._console.history(int(hours), request.state.deadline)
        return views.history(request.state.request_id, points)

    async def resume(self, request: Request) -> Response:
        """End an operator's pause of calls."""
        viewer = await self._access.viewer(request)
        changed = await self._console.resume(viewer, request.state.deadline)
        return reply(Resumed(request_id=request.state.request_id, status=200, resumed=changed))

    async def replay(
        self, request: Request, body: Annotated[ReplayBody, Depends(JsonBody(ReplayBody))]
    ) -> Response:
        """Start the delivery of a request's webhook again."""
        viewer = await self._access.viewer(request)
        replayed = await self._console.replay(body.request_id, viewer, request.state.deadline)
        if replayed is None:
            raise NotFound
        return status(Found(replayed))

    async def headline(self, request: Request) -> Headline | None:
        """Return the headline for `GET /health`; None if the viewer is no operator, or it can't be read."""
        if "authorization" not in request.headers:
            return None
        try:
            viewer = await self._access.viewer(request)
            if not viewer.sees_all:
                return None
            return views.headline(await self._console.overview(viewer, request.state.deadline))
        except (Unauthorized, Unavailable):
            return None


def router(routes: Routes) -> APIRouter:
    """Return the routes."""
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
    operators: dict[str, Any] = {
        "responses": {**UNAUTHORIZED, **NOT_FOUND, **INVALID, **failures()},
        "dependencies": [Depends(viewer), Depends(strict_query)],
    }
    mounted.get(
        "/console/history",
        operation_id="getConsoleHistory",
        summary="How the service stood in the last hour or day, for operators",
        response_model=ConsoleHistory,
        **operators,
    )(routes.history)
    mounted.post(
        "/console/resume",
        operation_id="resumeCalls",
        summary="Let calls go on that an operator had paused, for operators",
        response_model=Resumed,
        **operators,
    )(routes.resume)
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
