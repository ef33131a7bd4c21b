"""CORS: pages of any origin may read states, public keys and the document; named origins may also sign.

A key is sent in a header, never as a cookie, so no answer allows credentials.
"""

from collections.abc import Collection
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from web.problems import CORS_REFUSED, problem

SIGNING = "/crypto/sign"
OF_ANY = ("/crypto/requests/", "/.well-known/jwks.json", "/openapi.json")
KEPT_S = 86_400
EXPOSED = ["Location", "Preference-Applied", "Retry-After"]


class _Preflights(CORSMiddleware):
    """Refuses a preflight request with a problem."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Return the answer to a preflight request."""
        answer = super().preflight_response(request_headers)
        return answer if answer.status_code == HTTPStatus.OK else _Refusal(answer)


class _Refusal(Response):
    """The refusal of a preflight request, as a problem."""

    def __init__(self, answer: Response) -> None:
        super().__init__()
        self._detail = bytes(answer.body).decode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the problem."""
        request_id = scope["state"]["request_id"]
        await problem(request_id, CORS_REFUSED, f"{self._detail}.")(scope, receive, send)


class Cors:
    """Answers preflight requests, and adds the headers that let a page read an answer."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        self._app = app
        self._of_any = _Preflights(
            app, allow_origins=["*"], allow_headers=["Authorization"], expose_headers=EXPOSED, max_age=KEPT_S
        )
        self._signing = _Preflights(
            app,
            allow_origins=sorted(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Prefer"],
            expose_headers=EXPOSED,
            max_age=KEPT_S,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, by its path."""
        path = scope.get("path", "")
        if path.startswith(OF_ANY):
            await self._of_any(scope, receive, send)
        elif path == SIGNING:
            await self._signing(scope, receive, send)
        else:
            await self._app(scope, receive, send)
