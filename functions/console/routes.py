"""The console's routes, which the API mounts."""

from pathlib import Path

from fastapi import APIRouter, Request, Response

from console import views
from console.dead_letters import DeadLetters
from console.overview import Console
from web import pages
from web.access import Access
from web.bodies import Found, parse_body, status
from web.problems import InvalidParameter, NotFound

PAGE = Path(__file__).parent / "console.html"


class Routes:
    """What each path answers."""

    def __init__(self, console: Console, dead_letters: DeadLetters, access: Access) -> None:
        self._console = console
        self._dead_letters = dead_letters
        self._access = access

    async def page(self) -> Response:
        """Show the console: a page without any data, which asks its reader for a key."""
        return pages.page(PAGE)

    async def state(self, request: Request) -> Response:
        """Say where the service stands, as far as the key may see."""
        viewer, deadline = await self._access.viewer(request), request.state.deadline
        overview = await self._console.overview(viewer, deadline)
        dead_letters = await self._dead_letters.counts(deadline) if viewer.sees_all else None
        known_etag = request.headers.get("if-none-match", "")
        return views.overview(request.state.request_id, overview, dead_letters, known_etag)

    async def replay(self, request: Request) -> Response:
        """Start the delivery of a request's webhook again."""
        viewer = await self._access.viewer(request)
        body = parse_body(await request.body(), request.headers.get("content-type", ""))
        wanted_id = body.get("request_id")
        if not isinstance(wanted_id, str):
            raise InvalidParameter("request_id", "must be a string")
        replayed = await self._console.replay(wanted_id, viewer, request.state.deadline)
        if replayed is None:
            raise NotFound
        return status(Found(replayed))


def router(console: Console, dead_letters: DeadLetters, access: Access) -> APIRouter:
    """Return the routes."""
    routes = Routes(console, dead_letters, access)
    mounted = APIRouter()
    mounted.add_api_route("/console", routes.page, methods=["GET", "HEAD"])
    mounted.add_api_route("/console/state", routes.state, methods=["GET", "HEAD"])
    mounted.add_api_route("/console/replay", routes.replay, methods=["POST"])
    return mounted
