"""Authentication: callers and operators have keys; a status token opens one request."""

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from core.job import OUTCOME_KEPT_MS
from core.messages import REQUEST_ID
from core.request import Request as SigningRequest
from core.secrets import Secrets
from core.token import make_token, opens
from ports import Clock, Requests
from web.problems import NOT_FOUND, UNAUTHORIZED, RequestProblem
from web.strict import strict_query


@dataclass(frozen=True, slots=True)
class Viewer:
    """The sender of a request. A caller sees its own requests, an operator or the holder of a token any."""

    name: str = ""
    sees_all: bool = False

    def sees(self, request: SigningRequest) -> bool:
        """Whether this request may be shown."""
        return self.sees_all or request.client == self.name

    def require_all(self) -> None:
        """Raise `RequestProblem` unless all may be shown: for others the path does not exist."""
        if not self.sees_all:
            raise RequestProblem(NOT_FOUND, "This path is for operators.")


async def visible(requests: Requests, request_id: str, viewer: Viewer) -> SigningRequest:
    """Return a request; raises `RequestProblem` if it does not exist or the viewer may not see it."""
    request_id = request_id.lower()
    request = await requests.request(request_id) if REQUEST_ID.fullmatch(request_id) else None
    if request is None or not viewer.sees(request):
        raise RequestProblem(NOT_FOUND)
    return request


class Access:
    """Checks keys and tokens. Every method raises `Unavailable` while the secret can't be fetched."""

    def __init__(self, fetch: Callable[[], Awaitable[Secrets]], clock: Clock, age_max_ms: int) -> None:
        self._fetch = fetch
        self._clock = clock
        self._age_max_ms = age_max_ms

    async def caller(self, request: Request) -> str:
        """Return the caller's name; raises `RequestProblem`."""
        secrets = await self._secrets(request)
        client = client_of(request.headers.get("authorization"), secrets.clients)
        if client is None:
            raise RequestProblem(UNAUTHORIZED)
        return client

    async def viewer(self, request: Request) -> Viewer:
        """Return what the key may see; raises `RequestProblem`."""
        secrets = await self._secrets(request)
        operator = client_of(request.headers.get("authorization"), secrets.operators)
        if operator is not None:
            return Viewer(operator, sees_all=True)
        return Viewer(await self.caller(request))

    async def viewer_of(self, request: Request, wanted_id: str, token: str | None) -> Viewer:
        """Return who may see this one request: the holder of its token, or of a key."""
        if token is not None:
            keys = (await self._secrets(request)).token_keys
            if opens(token, keys, wanted_id.lower(), self._clock.now_ms() // 1000):
                return Viewer(sees_all=True)
            if "authorization" not in request.headers:
                raise RequestProblem(UNAUTHORIZED, "the token is wrong or has expired")
        return await self.viewer(request)

    async def token(self, request: Request, request_id: str) -> str:
        """Return a token that opens this request for as long as its record may be stored."""
        expires_ms = self._clock.now_ms() + self._age_max_ms + OUTCOME_KEPT_MS
        return make_token((await self._secrets(request)).token_keys[0], request_id, expires_ms // 1000)

    async def _secrets(self, request: Request) -> Secrets:
        """Return the keys, fetched once per request, so that after a durable write they can't be missing."""
        if not hasattr(request.state, "secrets"):
            async with request.state.deadline.limit():
                request.state.secrets = await self._fetch()
        secrets: Secrets = request.state.secrets
        return secrets


def client_of(authorization: str | None, clients: Mapping[str, str]) -> str | None:
    """Return the name of the caller with this key; None if there is none. Compares all, in constant time."""
    key = (authorization or "").strip()
    if key[:7].lower() == "bearer ":
        key = key[7:].strip()
    given = key.encode()
    matching = [name for name, expected in clients.items() if hmac.compare_digest(given, expected.encode())]
    return matching[0] if matching and given else None


async def viewer(request: Request) -> Viewer:
    """Return what the key may see, as a dependency; raises `RequestProblem`."""
    access: Access = request.app.state.access
    return await access.viewer(request)


async def caller(request: Request) -> str:
    """Return the caller's name, as a dependency; raises `RequestProblem`."""
    access: Access = request.app.state.access
    return await access.caller(request)


Caller = Annotated[str, Depends(caller)]
KEYED = [Depends(caller), Depends(strict_query)]
"""The dependencies of an operation for callers: a key, and only known parameters."""
