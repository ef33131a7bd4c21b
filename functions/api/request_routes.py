"""`/crypto/requests`: the state of accepted requests, and what their callers can do with them."""

from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import RedirectResponse

from api import responses
from api.models import OwnRequests
from api.services import Wired
from web import pages, problems
from web.access import KEYED, Caller, Viewer
from web.bodies import Found, status
from web.described import INVALID, NOT_FOUND, OPEN, PAGE, UNAUTHORIZED, failures, refused
from web.models import Absent, RequestStatus
from web.negotiation import wants_page
from web.strict import StrictRoute

STATUS_PAGE = Path(__file__).parent / "status.html"
LISTED_MAX = 100
OwnState = Literal["open", "signed", "failed", "cancelled"]
Token = Annotated[
    str | Absent,
    Query(description="The token of a `status_url`: opens that one request until it expires"),
]
RequestId = Annotated[str, PathParameter(description="The id in the 202, or in the list of requests")]
REFUSALS = {**UNAUTHORIZED, **INVALID, **failures()}

router = APIRouter(route_class=StrictRoute, tags=["signing"])


@router.get(
    "/crypto/requests",
    operation_id="listRequests",
    summary="Your own requests, newest first",
    description="A request appears a moment after its acceptance. With `state`, a page may be short or "
    "empty: continue while there is a `next_cursor`.",
    response_model=OwnRequests,
    responses=REFUSALS,
    dependencies=KEYED,
)
async def own(
    request: Request,
    services: Wired,
    client: Caller,
    state: Annotated[OwnState | Absent, Query(description="Only those in this state")] = None,
    limit: Annotated[int, Query(ge=1, le=LISTED_MAX, description="How many requests are read")] = 20,
    cursor: Annotated[str | Absent, Query(description="`next_cursor` of the page before")] = None,
) -> Response:
    """List the caller's own requests."""
    states = frozenset({state}) if state else frozenset()
    listing = await services.own.page(client, states, limit, cursor or "", request.state.deadline)
    return responses.own(request.state.request_id, listing)


@router.delete(
    "/crypto/requests/{request_id}",
    operation_id="cancelRequest",
    summary="Cancel your own open request",
    description="Its outcome is `cancelled`. The upstream is not called for it any more; a call under "
    "way ends, and its signature is kept for others.",
    response_model=RequestStatus,
    responses={
        **REFUSALS,
        **NOT_FOUND,
        **refused("The request already has another outcome", problems.ALREADY_ENDED),
    },
    dependencies=KEYED,
)
async def cancel(
    request: Request,
    services: Wired,
    request_id: RequestId,
    client: Caller,
    notify: Annotated[bool, Query(description="Send the webhook, with the outcome `cancelled`")] = True,
) -> Response:
    """Cancel an open request."""
    deadline = request.state.deadline
    return status(Found(await services.own.cancel(request_id, Viewer(client), deadline, notify=notify)))


@router.post(
    "/crypto/requests/{request_id}/replay",
    operation_id="replayRequest",
    summary="Send your own webhook again, from its first attempt",
    response_model=RequestStatus,
    responses={
        **REFUSALS,
        **NOT_FOUND,
        **refused("No webhook can be sent again now", problems.NOT_REPLAYABLE),
    },
    dependencies=KEYED,
)
async def replay(request: Request, services: Wired, request_id: RequestId, client: Caller) -> Response:
    """Start the delivery of the caller's own webhook again."""
    return status(Found(await services.console.replay(request_id, Viewer(client), request.state.deadline)))


@router.get(
    "/crypto/requests/{request_id}",
    operation_id="getRequest",
    summary="The state of an accepted request",
    description="Needs a key, or the `token` of its `status_url`. Browsers are redirected to the page.",
    response_model=RequestStatus,
    responses={
        303: {"description": "For browsers: a redirect to the page"},
        **UNAUTHORIZED,
        **NOT_FOUND,
        **INVALID,
        **failures(),
    },
    openapi_extra={"security": [{"key": []}, {}]},
)
async def find(request: Request, services: Wired, request_id: RequestId, token: Token = None) -> Response:
    """Return the state of an accepted request; redirect browsers to the page that shows it."""
    if wants_page(request.headers.get("accept", "")):
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"{request_id}/page{query}", 303, {"Vary": "Accept"})
    viewer = await services.access.viewer_of(request, request_id, token)
    return status(await services.statuses.find(request_id, viewer, request.state.deadline))


@router.get(
    "/crypto/requests/{request_id}/page",
    operation_id="showRequest",
    summary="The same as a page, which waits for the signature",
    responses=PAGE,
    openapi_extra=OPEN,
)
async def show(request_id: RequestId, token: Token = None) -> Response:
    """Return the status page. It has no data; it requests the same path as JSON."""
    del request_id, token  # the page reads them from its own address
    return pages.page(STATUS_PAGE)
