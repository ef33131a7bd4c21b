"""Delivers the webhook that a message names: fence, post, record, and if need be see to the next attempt."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from core import job as jobs
from core import webhook
from core.job import Request, RequestState
from core.messages import NotificationMessage
from core.webhook import Outcome, OutcomeKind, PostResult
from ports import Clock, JobStore, Poster, Queue, Randomness, Telemetry, Written

DELAY_MS_MAX = 900_000
FAILURE_MESSAGES: Mapping[str, str] = {
    "attempts_exhausted": "The upstream failed to sign the message as often as we may try.",
    "too_old": "The upstream failed to sign the message for as long as we may try.",
    "purged_by_operator": "The operator of this service gave the request up before it was signed.",
}

Sign = Callable[[bytes, str, int], Awaitable[dict[str, str]]]
"""From body, webhook id and time (integer seconds) to the headers of one attempt."""


def notification_body(request: Request) -> bytes:
    """Return the body for a closed request, the same bytes at every attempt."""
    if request.state is RequestState.SIGNED:
        return webhook.signature_body(request.id, request.signature)
    message = FAILURE_MESSAGES.get(request.failure_reason, "The upstream refuses to sign the message.")
    return webhook.failure_body(request.id, request.failure_status, message, request.failure_reason)


class Deliverer:
    """Makes one attempt at a time."""

    def __init__(
        self,
        store: JobStore,
        queue: Queue,
        poster: Poster,
        sign: Sign,
        clock: Clock,
        randomness: Randomness,
        telemetry: Telemetry,
        delays_ms: Sequence[int],
    ) -> None:
        self._store = store
        self._queue = queue
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
        begun = await self._begin(message)
        if begun is None:
            return
        body = notification_body(begun)
        headers = await self._sign(body, begun.id, self._clock.now_ms() // 1000)
        result = await self._poster.post(begun.webhook_url, headers, body)
        await self._record(begun, result)

    async def _begin(self, message: NotificationMessage) -> Request | None:
        request = await self._store.request_of(message.job_id, message.request_id)
        after = request and jobs.begin_delivery(request, message.attempt, self._clock.now_ms())
        if request is None or after is None:
            self._telemetry.event(
                "notification_dropped", request_id=message.request_id, attempt=message.attempt
            )
            return None
        written = await self._store.write_request(request, after)
        return written.record if isinstance(written, Written) else None

    async def _record(self, begun: Request, result: PostResult) -> None:
        """End the delivery, or record the failure and see to the next attempt."""
        now_ms = self._clock.now_ms()
        outcome = webhook.classify_answer(result, now_ms)
        after = self._after(begun, outcome, result.excerpt, now_ms)
        written = await self._store.write_request(begun, after)
        self._report(after, outcome)
        if isinstance(written, Written) and self._next_is_queued(after, now_ms):
            delivery = after.delivery
            text = NotificationMessage(after.job_id, after.id, delivery.attempts).encode()
            await self._queue.send([text], delay_ms=max(0, delivery.not_before_ms - self._clock.now_ms()))

    def _after(self, begun: Request, outcome: Outcome, excerpt: str, now_ms: int) -> Request:
        if outcome.kind is OutcomeKind.DELIVERED:
            return jobs.delivered(begun, now_ms, outcome.reason)
        if outcome.kind is OutcomeKind.GONE:
            return jobs.delivery_gone(begun, now_ms, outcome.reason, excerpt)
        next_ms = webhook.next_attempt_ms(
            begun.delivery.attempts,
            now_ms,
            self._delays_ms,
            self._randomness.fraction(),
            outcome.retry_after_ms,
        )
        if next_ms is None:
            return jobs.undeliverable(begun, now_ms, outcome.reason, excerpt)
        queued = next_ms - now_ms <= DELAY_MS_MAX
        return jobs.delivery_failed(begun, next_ms, outcome.reason, excerpt, queued=queued)

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
