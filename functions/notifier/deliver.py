"""Delivers the webhook that a message names: fence, post, record, and if need be see to the next attempt."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from core import request as requests
from core import webhook
from core.circuit import Deferral
from core.messages import NotificationMessage
from core.request import Request
from core.webhook import Outcome, OutcomeKind, PostResult
from notifier.hosts import Hosts, Visit
from ports import Clock, JobStore, Poster, Queue, Randomness, Telemetry, Written

DELAY_MS_MAX = 900_000
FAILURE_MESSAGES: Mapping[str, str] = {
    "attempts_exhausted": "The upstream failed to sign the message as often as we may try.",
    "too_old": "The upstream failed to sign the message for as long as we may try.",
    "purged_by_operator": "The operator of this service gave the request up before it was signed.",
}

Sign = Callable[[bytes, str, int, str], Awaitable[dict[str, str]]]
"""From body, webhook id, time (integer seconds) and caller to the headers of one attempt."""


def notification_body(request: Request) -> bytes:
    """Return the body for a closed request, the same bytes at every attempt."""
    if request.failure is None:
        return webhook.signature_body(request.id, request.signature)
    status, reason = request.failure.status, request.failure.reason
    message = FAILURE_MESSAGES.get(reason, "The upstream refuses to sign the message.")
    return webhook.failure_body(request.id, status, message, reason)


class Deliverer:
    """Makes one attempt at a time."""

    def __init__(
        self,
        store: JobStore,
        queue: Queue,
        hosts: Hosts,
        poster: Poster,
        sign: Sign,
        clock: Clock,
        randomness: Randomness,
        telemetry: Telemetry,
        delays_ms: Sequence[int],
    ) -> None:
        self._store = store
        self._queue = queue
        self._hosts = hosts
        self._poster = poster
        self._sign = sign
        self._clock = clock
        self._randomness = randomness
        self._telemetry = telemetry
        self._delays_ms = delays_ms

    async def deliver(self, message: NotificationMessage) -> None:
        """Make the attempt that the message names; one that is not due any more, or not yet, is dropped.

        Raises `Unavailable`: then the message comes again, or the due index sends another.
        """
        request = await self._due(message)
        if request is None:
            return
        visit = await self._hosts.enter(request.webhook_url)
        if isinstance(visit, Deferral):
            await self._defer(request, visit)
            return
        attempted = await self._attempt(request, visit)
        if attempted is not None:
            await self._record(*attempted)

    async def _due(self, message: NotificationMessage) -> Request | None:
        request = await self._store.request_of(message.job_id, message.request_id)
        if request and requests.begin_delivery(request, message.attempt, self._clock.now_ms()):
            return request
        self._telemetry.event("notification_dropped", request_id=message.request_id, attempt=message.attempt)
        return None

    async def _defer(self, request: Request, deferral: Deferral) -> None:
        """Put the attempt off: it was not begun, so it is not counted."""
        after = requests.defer_delivery(request, deferral.until_ms, deferral.reason)
        written = await self._store.write_request(request, after)
        self._telemetry.event(
            "webhook_deferred", {"WebhooksDeferred": 1}, request_id=request.id, reason=deferral.reason
        )
        if isinstance(written, Written):
            await self._queue_next(after)

    async def _attempt(self, request: Request, visit: Visit) -> tuple[Request, PostResult] | None:
        """Fence and post; None if somebody else has the attempt. The receiver's place is free afterwards.

        Signed before it is fenced: while no secret is to be had, no attempt begins and none is counted.
        """
        result = None
        try:
            body = notification_body(request)
            headers = await self._sign(body, request.id, self._clock.now_ms() // 1000, request.client)
            begun = await self._fence(request)
            if begun is None:
                return None
            result = await self._poster.post(begun.webhook_url, headers, body)
        finally:
            await self._hosts.leave(visit, result)
        return begun, result

    async def _fence(self, request: Request) -> Request | None:
        after = requests.begin_delivery(request, request.delivery.attempts, self._clock.now_ms())
        written = await self._store.write_request(request, after) if after else None
        return written.record if isinstance(written, Written) else None

    async def _record(self, begun: Request, result: PostResult) -> None:
        """End the delivery, or record the failure and see to the next attempt."""
        now_ms = self._clock.now_ms()
        outcome = webhook.classify_answer(result, now_ms)
        after = self._after(begun, outcome, result.excerpt, now_ms)
        written = await self._store.write_request(begun, after)
        self._report(after, outcome)
        if isinstance(written, Written) and self._next_is_queued(after, now_ms):
            await self._queue_next(after)

    async def _queue_next(self, request: Request) -> None:
        delivery = request.delivery
        text = NotificationMessage(request.job_id, request.id, delivery.attempts).encode()
        await self._queue.send([text], delay_ms=max(0, delivery.not_before_ms - self._clock.now_ms()))

    def _after(self, begun: Request, outcome: Outcome, excerpt: str, now_ms: int) -> Request:
        if outcome.kind is OutcomeKind.DELIVERED:
            return requests.delivered(begun, now_ms, outcome.reason)
        if outcome.kind is OutcomeKind.GONE:
            return requests.delivery_gone(begun, now_ms, outcome.reason, excerpt)
        next_ms = webhook.next_attempt_ms(
            begun.delivery.attempts,
            now_ms,
            self._delays_ms,
            self._randomness.fraction(),
            outcome.retry_after_ms,
        )
        if next_ms is None:
            return requests.undeliverable(begun, now_ms, outcome.reason, excerpt)
        queued = next_ms - now_ms <= DELAY_MS_MAX
        return requests.delivery_failed(begun, next_ms, outcome.reason, excerpt, queued=queued)

    @staticmethod
    def _next_is_queued(request: Request, now_ms: int) -> bool:
        return request.delivery_due and request.delivery.not_before_ms - now_ms <= DELAY_MS_MAX

    def _report(self, request: Request, outcome: Outcome) -> None:
        self._telemetry.event(
            "webhook_attempted",
            {"WebhookAttempts": 1, f"Webhooks{request.delivery.state.title()}": 1},
            request_id=request.id,
            state=request.delivery.state,
            attempts=request.delivery.attempts,
            reason=outcome.reason,
        )
