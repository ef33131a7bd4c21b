"""A stand-in of the upstream: with real signatures, a limit, outages and slow answers, all configurable.

`python -m infra.local.upstream --port 8100 --state-dir DIR`; every flag is also a variable `STANDIN_…`.
It adds two paths that the upstream does not have: `GET /_stats` returns every arrival and the worst window,
`POST /_config` changes the behaviour of the running process (a JSON object of `Behaviour`'s fields).
"""

import asyncio
import base64
import dataclasses
import os
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Annotated, NoReturn
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pydantic import Field
from pydantic.dataclasses import dataclass
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from infra.local import serve
from infra.local.upstream_model import Behaviour, answer_delay_s, outage_s
from infra.local.upstream_state import Arrival, State

KEY_BITS = 1024  # the upstream's own, for signatures of 172 characters
MESSAGE_BYTES_MAX = 8_192
BODY_BYTES_MAX = 65_536
DEGRADED = "Error 502: Failed to sign message due to simulated service degradation."
INVALID = "Error 400: Invalid signature for message!"
SIGN_PATH = "/crypto/sign"
VERIFY_PATH = "/crypto/verify"


@dataclass(frozen=True, kw_only=True)
class Settings(serve.Address, Behaviour):
    """What the stand-in starts with."""

    port: Annotated[int, Field(ge=0, le=65535)] = 8100
    state_dir: Path = Path(".local/upstream")
    api_key: Annotated[str, Field(min_length=1)] = "local-dev-key"


@plain_dataclass(frozen=True)
class Answer:
    """One answer: the outcome's name for the statistics, then what is sent."""

    outcome: str
    status: int
    body: str
    retry_after_s: int | None = None


Judge = Callable[[float], Answer]  # from the time of arrival

UNAUTHORIZED = Answer("unauthorized", 401, "Error 401: Unauthorized")
HUNG = Answer("hung", 504, "Error 504: Gateway timeout")
DELAYED_OUTCOMES = frozenset({"signed", "degraded", "forced", "hung"})


class BadQueryError(Exception):
    """The query lacks a parameter, has one that is too long, or is not UTF-8."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.answer = Answer("refused", status, f"Error {status}: {reason}")


class Upstream:
    """The stand-in's routes over its state; decides each answer at arrival, then delays it."""

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        """Load the key and the state of an earlier process, if there was one."""
        names = [field.name for field in dataclasses.fields(Behaviour)]
        self._behaviour = Behaviour(**{name: getattr(settings, name) for name in names})
        self._api_key = settings.api_key
        self._private_key = _load_or_make_key(serve.state_file(settings.state_dir, "key.pem"))
        self._state = State(
            serve.state_file(settings.state_dir, "events.jsonl"), window_s=self._behaviour.window_s
        )
        self._clock = clock
        self._sleep = sleep

    async def sign(self, request: Request) -> Response:
        """Sign the message, unless the limit, the key, the message's outage or a setting says otherwise."""
        return await self._limited(request, lambda now_s: self._sign(_parameter(request, "message"), now_s))

    async def welcome(self, request: Request) -> Response:
        """Answer 200 if the key is right: a way to check a key."""
        return await self._limited(request, lambda _now_s: Answer("welcome", 200, "Welcome!"))

    async def verify(self, request: Request) -> Response:
        """Verify a message's signature. Counts towards the limit only with `verify_counts`."""
        if self._behaviour.verify_counts:
            return await self._limited(request, lambda _now_s: self._verify(request))
        return _response(self._unauthorized(request) or _decide(lambda _now_s: self._verify(request), 0))

    async def stats(self, _request: Request) -> Response:
        """Return the arrivals, and the most arrivals of any window."""
        behaviour = self._behaviour
        return JSONResponse(
            {
                "limit": behaviour.limit,
                "window_s": behaviour.window_s,
                "worst_window": self._state.worst(behaviour.window_s),
                "violations": self._state.violations,
                "arrivals_total": self._state.arrivals_total,
                "arrivals": [dataclasses.asdict(arrival) for arrival in self._state.arrivals],
            }
        )

    async def configure(self, request: Request) -> Response:
        """Change some of the behaviour, for this process only."""
        try:
            self._behaviour = serve.changed(self._behaviour, await request.json())
        except ValueError as error:
            return PlainTextResponse(str(error), status_code=422)
        return JSONResponse(dataclasses.asdict(self._behaviour))

    async def _limited(self, request: Request, judge: Judge) -> Response:
        """Answer a call that counts. A call without a key cannot be the service's, so it does not count."""
        if "authorization" not in request.headers:
            return _response(UNAUTHORIZED)
        now_s = self._clock()
        answer = (
            self._over_limit(now_s)
            or self._forced(request)
            or self._unauthorized(request)
            or _decide(judge, now_s)
        )
        message = _message_if_readable(request)
        delay_s = answer_delay_s(self._behaviour, message, self._state.arrivals_total)
        if answer.outcome in DELAYED_OUTCOMES and delay_s is None:
            answer, delay_s = HUNG, self._behaviour.hang_cap_s
        self._state.record(
            Arrival(now_s, message, answer.outcome),
            violation=answer.outcome == "limited",
            window_s=self._behaviour.window_s,
        )
        if answer.outcome in DELAYED_OUTCOMES and delay_s:
            await self._sleep(delay_s)
        return _response(answer)

    def _over_limit(self, now_s: float) -> Answer | None:
        earlier = self._state.arrivals_until(now_s, self._behaviour.window_s)
        if earlier < self._behaviour.limit:
            return None
        return Answer("limited", 429, "Error 429: Too many requests")

    def _forced(self, request: Request) -> Answer | None:
        behaviour = self._behaviour
        if behaviour.forced_status is None or behaviour.forced_path not in {None, request.url.path}:
            return None
        body = behaviour.forced_body
        if body is None:
            body = f"Error {behaviour.forced_status}: forced"
        return Answer("forced", behaviour.forced_status, body, behaviour.forced_retry_after_s)

    def _unauthorized(self, request: Request) -> Answer | None:
        given = request.headers.get("authorization", "")
        if secrets.compare_digest(given.encode(), self._api_key.encode()):
            return None
        return UNAUTHORIZED

    def _sign(self, message: str, now_s: float) -> Answer:
        outage_end_s = self._state.outage_end_s(message)
        if outage_end_s is None:
            outage_end_s = now_s + outage_s(self._behaviour, message)
            self._state.begin(message, outage_end_s)
        if now_s < outage_end_s:
            return Answer("degraded", 502, DEGRADED)
        signature = self._private_key.sign(message.encode(), padding.PKCS1v15(), hashes.SHA256())
        return Answer("signed", 200, base64.b64encode(signature).decode())

    def _verify(self, request: Request) -> Answer:
        message, signature = _parameter(request, "message"), _parameter(request, "signature")
        public_key = self._private_key.public_key()
        try:
            decoded = base64.b64decode(signature, validate=True)
            public_key.verify(decoded, message.encode(), padding.PKCS1v15(), hashes.SHA256())
        except (ValueError, InvalidSignature):
            return Answer("invalid", 400, INVALID)
        return Answer("verified", 200, "Signature is valid for message.")


def _decide(judge: Judge, now_s: float) -> Answer:
    try:
        return judge(now_s)
    except BadQueryError as error:
        return error.answer


def _message_if_readable(request: Request) -> str:
    try:
        return _parameter(request, "message")
    except BadQueryError:
        return ""


def _parameter(request: Request, name: str) -> str:
    """Return a form-decoded parameter of the query; its UTF-8 bytes are what gets signed."""
    query = request.scope["query_string"].decode("latin-1")
    try:
        values: list[str] = parse_qs(query, errors="strict").get(name, [])
    except UnicodeDecodeError as error:
        raise BadQueryError(400, "The query is not UTF-8") from error
    if not values:
        raise BadQueryError(400, f"Missing parameter {name}")
    if len(values[0].encode()) > MESSAGE_BYTES_MAX:
        raise BadQueryError(414, f"Parameter {name} is too long")
    return values[0]


def _response(answer: Answer) -> Response:
    headers = {} if answer.retry_after_s is None else {"Retry-After": str(answer.retry_after_s)}
    return PlainTextResponse(answer.body, status_code=answer.status, headers=headers)


def _load_or_make_key(path: Path) -> rsa.RSAPrivateKey:
    if not path.exists():
        _write_key(path)
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError(f"{path} holds no RSA key")
    return key


def _write_key(path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)  # the upstream's own size
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_bytes(pem)
    os.replace(fresh, path)  # noqa: PTH105


def create_app(
    settings: Settings,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Starlette:
    """Build the stand-in over its state directory."""
    upstream = Upstream(settings, clock, sleep)
    return Starlette(
        routes=[
            Route(SIGN_PATH, upstream.sign),
            Route(VERIFY_PATH, upstream.verify),
            Route("/", upstream.welcome),
            Route("/_stats", upstream.stats),
            Route("/_config", upstream.configure, methods=["POST"]),
        ],
        max_body_size=BODY_BYTES_MAX,
    )


def main(argv: Sequence[str]) -> NoReturn:
    """Run the stand-in until a signal stops it."""
    settings = serve.parse(Settings, "STANDIN", argv, os.environ)
    serve.run(lambda: create_app(settings), settings, name="upstream stand-in", port_setting="UPSTREAM_PORT")


if __name__ == "__main__":
    main(sys.argv[1:])
