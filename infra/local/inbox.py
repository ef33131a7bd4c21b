"""A local receiver of webhooks: verifies each signature and shows the last webhooks.

`python -m infra.local.inbox --port 8200 --state-dir DIR --secret-file FILE`; or variables `INBOX_…`.
`POST /hook` or `/hook/{name}` receives, `GET /` is a page, `GET /_received` the same as JSON,
`POST /_config` makes it fail or slow (for one name, or for all that have no setting of their own).
"""

import asyncio
import dataclasses
import json
import os
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

from pydantic import ConfigDict, Field, FilePath
from pydantic.dataclasses import dataclass
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from infra.local import serve
from infra.local.journal import Event, Journal

RECEIVED_KEPT = 1_000
IDS_KEPT = 100_000
NAMES_MAX = 1_000
BODY_BYTES_MAX = 65_536
LINES_BEFORE_COMPACTING = 10 * RECEIVED_KEPT
PAGE = Path(__file__).with_name("inbox.html")
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, kw_only=True)
class Settings(serve.Address):
    """What the inbox starts with; without a secret every webhook counts as not verified."""

    port: Annotated[int, Field(ge=0, le=65535)] = 8200
    state_dir: Path = Path(".local/inbox")
    secret: Annotated[str, Field(repr=False)] = ""
    secret_file: FilePath | None = None


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Behaviour:
    """How the inbox answers; status None: 204, or 401 where there is a secret and the signature is wrong."""

    status: Annotated[int, Field(ge=200, le=599)] | None = None
    delay_ms: Annotated[float, Field(ge=0, le=600_000)] = 0
    retry_after: str | Annotated[int, Field(ge=0)] | None = None


class Received:
    """The webhooks received so far: the last ones in full, and totals of the others."""

    def __init__(self, path: Path) -> None:
        """Load the webhooks of an earlier process, and compact their file."""
        self.last: deque[Event] = deque(maxlen=RECEIVED_KEPT)
        self.count = 0
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._journal = Journal(path)
        for event in self._journal.loaded:
            self._apply(event)
        self._compact()

    @property
    def distinct(self) -> int:
        """Count the different webhook ids, up to the number that is kept."""
        return len(self._ids)

    def add(self, webhook: Event) -> None:
        """Store one webhook, on disk first."""
        self._journal.append(webhook)
        self._apply(webhook)
        if self._journal.lines > LINES_BEFORE_COMPACTING:
            self._compact()

    def _apply(self, event: Event) -> None:
        match event:
            case {"count": int(count), "ids": list(ids)}:
                self.count = count
                self._ids = OrderedDict.fromkeys(ids)
            case {"webhook_id": str(webhook_id)}:
                self.last.append(event)
                self.count += 1
                self._ids[webhook_id] = None
                if len(self._ids) > IDS_KEPT:
                    self._ids.popitem(last=False)

    def _compact(self) -> None:
        """Write the kept webhooks first: the totals after them then include the others."""
        self._journal.rewrite([*self.last, {"count": self.count, "ids": list(self._ids)}])


class Inbox:
    """The inbox's routes over what it received."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        """Load earlier webhooks and the secret; raises ValueError if the secret is not one."""
        self._received = Received(serve.state_file(settings.state_dir, "received.jsonl"))
        self._verifier = _verifier(settings)
        self._behaviours: dict[str, Behaviour] = {}
        self._clock = clock

    async def receive(self, request: Request) -> Response:
        """Record the webhook, then answer as configured."""
        name = request.path_params.get("name", "")
        body = await request.body()
        verified = self._is_verified(body, request.headers)
        behaviour = self._behaviours.get(name) or self._behaviours.get("") or Behaviour()
        status = behaviour.status or (401 if self._verifier and not verified else 204)
        self._received.add(
            {
                "webhook_id": request.headers.get("webhook-id", ""),
                "t": self._clock(),
                "name": name,
                "verified": verified,
                "status": status,
                "body": _parsed(body),
            }
        )
        await asyncio.sleep(behaviour.delay_ms / 1000)
        headers = {} if behaviour.retry_after is None else {"Retry-After": str(behaviour.retry_after)}
        return Response(status_code=status, headers=headers)

    async def received(self, request: Request) -> Response:
        """List the last webhooks, newest first; `?limit=` bounds how many."""
        limit = request.query_params.get("limit", str(RECEIVED_KEPT))
        if not (limit.isascii() and limit.isdigit()):
            return PlainTextResponse("limit: expected a whole number", status_code=422)
        newest_first = list(reversed(self._received.last))[: int(limit)]
        return JSONResponse(
            {"received": newest_first, "count": self._received.count, "distinct": self._received.distinct},
            headers={"Cache-Control": "no-store"},
        )

    async def page(self, _request: Request) -> Response:
        """Show the page; it fetches the list itself."""
        return HTMLResponse(PAGE.read_text(encoding="utf-8"), headers=PAGE_HEADERS)

    async def configure(self, request: Request) -> Response:
        """Change how the inbox answers `name`, or all names without their own setting."""
        try:
            changes = await request.json()
            name = str(changes.pop("name", "")) if isinstance(changes, dict) else ""
            changed = serve.changed(self._behaviours.get(name, Behaviour()), changes)
        except ValueError as error:
            return PlainTextResponse(str(error), status_code=422)
        if len(self._behaviours.keys() | {name}) > NAMES_MAX:
            return PlainTextResponse(f"at most {NAMES_MAX} names", status_code=422)
        self._behaviours[name] = changed
        return JSONResponse({"name": name, **dataclasses.asdict(changed)})

    def _is_verified(self, body: bytes, headers: Mapping[str, str]) -> bool:
        if self._verifier is None:
            return False
        try:
            self._verifier.verify(body, dict(headers), json_parse=False)
        except (
            WebhookVerificationError,
            ValueError,
        ):  # a header without a comma, or bad base64, is a ValueError
            return False
        return True


def _verifier(settings: Settings) -> Webhook | None:
    secret = settings.secret
    if settings.secret_file is not None:
        secret = settings.secret_file.read_text(encoding="utf-8").strip()
    return Webhook(secret) if secret else None


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return {"text": body.decode("utf-8", errors="replace")}


def create_app(settings: Settings, *, clock: Callable[[], float] = time.time) -> Starlette:
    """Build the inbox over its state directory."""
    inbox = Inbox(settings, clock)
    return Starlette(
        routes=[
            Route("/hook", inbox.receive, methods=["POST"]),
            Route("/hook/{name}", inbox.receive, methods=["POST"]),
            Route("/_received", inbox.received),
            Route("/_config", inbox.configure, methods=["POST"]),
            Route("/", inbox.page),
        ],
        max_body_size=BODY_BYTES_MAX,
    )


def main(argv: Sequence[str]) -> NoReturn:
    """Run the inbox until a signal stops it."""
    settings = serve.parse(Settings, "INBOX", argv, os.environ)
    serve.run(lambda: create_app(settings), settings, name="webhook inbox", port_setting="INBOX_PORT")


if __name__ == "__main__":
    main(sys.argv[1:])
