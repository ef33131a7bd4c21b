"""The console's routes, which the API mounts."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from console import views
from console.models import ConsoleHistory, ConsoleState, ReplayBody, Resumed
from console.overview import Console
from core.errors import Unavailable
from web import pages, problems
from web.access import Viewer, viewer
from web.bodies import Found, status
from web.described import (
    INVALID,
    NOT_FOUND,
    OPEN,
    PAGE,
    UNAUTHORIZED,
    UNREADABLE_BODY,
    failures,
    headers,
    refused,
)
from web.models import Headline, RequestStatus, reply
from web.problems import RequestProblem
from web.strict import JsonBody, StrictRoute, strict_query

Hours = Annotated[Literal["1", "24"], Query(description="How far back")]
Seeing = Annotated[Viewer, Depends(viewer)]
KEYED = [Depends(viewer), Depends(strict_query)]
REFUSALS = {**UNAUTHORIZED, **NOT_FOUND, **INVALID, **failures()}


async def console_of(request: Request) -> Console:
    """Return the application's console, as a dependency."""
    console: Console = request.app.state.console
    return console


Wired = Annotated[Console, Depends(console_of)]

router = APIRouter(route_class=StrictRoute, tags=["console"])


@router.get(
    "/console",
    operation_id="showConsole",
    summary="The console, for people",
    responses=PAGE,
    openapi_extra=OPEN,
)
async def page() -> Response:
    """Return the console's page. The page has no data, and asks for a key."""
    return pages.page(views.PAGE, views.pieces())


@router.get(
    "/console/state",
    operation_id="getConsoleState",
    summary="The window, the queue, open requests, and the last that ended",
    description="The requests that are due next (open, or with a webhook to send), the last with an "
    "undeliverable webhook, and the last others that ended. A caller sees its own, an operator all.",
    response_model=ConsoleState,
    responses={
        200: {"headers": headers("ETag")},
        304: {"description": "Not changed since the ETag"},
        **UNAUTHORIZED,
        **INVALID,
        **failures(),
    },
    dependencies=KEYED,
)
async def state(request: Request, console: Wired, viewer: Seeing) -> Response:
    """Return the part of the service's state that the key's owner may see."""
    overview = await console.overview(viewer, request.state.deadline)
    known_etag = request.headers.get("if-none-match", "")
    return views.overview(request.state.request_id, overview, known_etag)


@router.get(
    "/console/history",
    operation_id="getConsoleHistory",
    summary="The history of the last hour or day, for operators",
    response_model=ConsoleHistory,
    responses=REFUSALS,
    dependencies=KEYED,
)
async def history(request: Request, console: Wired, viewer: Seeing, hours: Hours = "1") -> Response:
    """Return the history of the service, for operators."""
    viewer.require_all()
    points = await console.history(int(hours), request.state.deadline)
    return views.history(request.state.request_id, points)


@router.post(
    "/console/resume",
    operation_id="resumeCalls",
    summary="Resume calls after an operator's pause, for operators",
    response_model=Resumed,
    responses=REFUSALS,
    dependencies=KEYED,
)
async def resume(request: Request, console: Wired, viewer: Seeing) -> Response:
    """End an operator's pause of calls."""
    changed = await console.resume(viewer, request.state.deadline)
    return reply(Resumed(request_id=request.state.request_id, status=200, resumed=changed))


@router.post(
    "/console/replay",
    operation_id="replayDelivery",
    summary="Send a request's webhook again",
    response_model=RequestStatus,
    responses={
        **UNREADABLE_BODY,
        **UNAUTHORIZED,
        **NOT_FOUND,
        **refused("No webhook can be sent again now", problems.NOT_REPLAYABLE),
        **INVALID,
        **failures(),
    },
    dependencies=KEYED,
)
async def replay(
    request: Request,
    console: Wired,
    viewer: Seeing,
    body: Annotated[ReplayBody, Depends(JsonBody(ReplayBody))],
) -> Response:
    """Send a request's webhook again."""
    return status(Found(await console.replay(body.request_id, viewer, request.state.deadline)))


async def headline(request: Request) -> Headline | None:
    """Return the headline for `GET /health`; None if the viewer is no operator, or it can't be read."""
    if "authorization" not in request.headers:
        return None
    try:
        seeing = await viewer(request)
        if not seeing.sees_all:
            return None
        console = await console_of(request)
        return views.headline(await console.overview(seeing, request.state.deadline))
    except (RequestProblem, Unavailable):
        return None
