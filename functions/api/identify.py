"""The outermost layer: an id, a deadline and a log line for every request."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.settings import ApiSettings
from core.errors import described
from core.messages import REQUEST_ID
from ports import Clock, Randomness, Telemetry
from web.deadline import BUDGET_MS, Deadline, reached_gateway_ms
from web.negotiation import preferences, preferred_wait_s
from web.problems import INTERNAL, problem

SIGN_PATH = "/crypto/sign"


class Identify:
    """Gives every request an id and every answer a log line, without the query, which holds the message.

    A HEAD is answered as a GET without the body, except on the path that signs.
    """

    def __init__(
        self, app: ASGIApp, clock: Clock, randomness: Randomness, telemetry: Telemetry, settings: ApiSettings
    ) -> None:
        self._app = app
        self._clock = clock
        self._randomness = randomness
        self._telemetry = telemetry
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on. After an unexpected error the caller gets a 500 with the id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = self._request_id(scope)
        deadline = self._deadline(scope)
        scope.setdefault("state", {}).update(request_id=request_id, deadline=_preferred(deadline, scope))
        with self._telemetry.about(request_id=request_id):
            await self._answer(scope, receive, send, request_id, deadline)

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, request_id: str, deadline: Deadline
    ) -> None:
        status, asked = 500, scope
        without_body = scope["method"] == "HEAD" and scope["path"] != SIGN_PATH
        if without_body:
            asked = {**scope, "method": "GET"}

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif without_body:
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app(asked, receive, noting)
        except Exception as error:  # noqa: BLE001 - the last resort
            self._telemetry.event("error", {"Errors": 1}, request_id=request_id, error=described(error))
            await problem(request_id, INTERNAL)(scope, receive, noting)
        metrics = _metrics(scope["path"], status, deadline.used_ms())
        self._telemetry.event(
            "answered",
            {name: value for name, value in metrics.items() if value},  # zeros cost log bytes, and metrics
            request_id=request_id,
            method=scope["method"],
            path=scope["path"],
            status=status,
        )

    def _deadline(self, scope: Scope) -> Deadline:
        """Count from the moment the request reached the gateway."""
        reached_ms = reached_gateway_ms(
            scope.get("aws.event", {}),
            Headers(scope=scope),
            trust_request_start=self._settings.trust_request_start,
            sam_local=self._settings.sam_local,
        )
        return Deadline.of(self._clock, reached_ms, by_own_front=self._settings.trust_request_start)

    def _request_id(self, scope: Scope) -> str:
        """Return the id that the service's own front made, or a new one.

        The front makes it so that its own answers have the same id as the request's webhook.
        """
        given = Headers(scope=scope).get("x-request-id", "") if self._settings.trust_request_start else ""
        return given if REQUEST_ID.fullmatch(given) else self._randomness.request_id(self._clock.now_ms())


def _preferred(deadline: Deadline, scope: Scope) -> Deadline:
    """Return the deadline, or the caller's own, which is earlier."""
    wait_s = preferred_wait_s(preferences(Headers(scope=scope).getlist("prefer")))
    return deadline.within(wait_s * 1000) if wait_s else deadline


def _metrics(path: str, status: int, used_ms: int) -> dict[str, float]:
    """Return the metrics of an answer. 500 and 503 are failures of this service, 502 and 504 are not."""
    return {
        "AnswerMs": used_ms,
        "AnswersLate": int(used_ms > BUDGET_MS),
        "AnswersAtOnce": int(status == 200 and path == SIGN_PATH),  # noqa: PLR2004
        "AnswersUnavailable": int(status in {500, 503}),
        f"Answers{status // 100}xx": 1,
    }
