"""One attempt to deliver a webhook: fence, post, record, and send the message of the next attempt."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from core import request as requests
from core import webhook
from core.messages import NotificationMessage
from core.request import Request
from core.webhook import Outcome, OutcomeKind, PostResult
from ports import Clock, Poster, Queue, Randomness, ReceiverStore, Requests, Telemetry, Written

DELAY_MS_MAX = 900_000

Sign = Callable[[bytes, str, int, str], Awaitable[dict[str, str]]]
"""From body, webhook id, time (integer seconds) and caller to the headers of one attempt."""


def notification_body(request: Request) -> bytes:
    """Return the body for a closed request, the same bytes at every attempt."""
    if request.failure is None:
        return webhook.signature_body(request.id, request.signature, request.reference)
    status, reason = request.failure.status, request.failure.reason
    return webhook.failure_body(request.id, status, request.failure.message, reason, request.reference)


@dataclass(frozen=True, slots=True)
class NotifierPorts:
    """The ports of the notifier. `notifications` and `retries`: its two queues."""

    store: Requests
    receivers: ReceiverStore
    poster: Poster
    notifications: Queue
    retries: Queue
    sign: Sign
    clock: Clock
    randomness: Randomness
    telemetry: Telemetry


class Attempts:
    """Makes attempts.

    Every method may raise `Unavailable`: then the message is received again, or the sweep sends another.
    """

    def __init__(self, ports: NotifierPorts, delays_ms: Sequence[int]) -> None:
        self._ports = ports
        self._delays_ms = delays_ms

    async def due(self, message: NotificationMessage) -> Request | None:
        """Return the request if the attempt that a message names may begin; None: drop the message."""
        request = await self._ports.store.request_of(message.job_id, message.request_id)
        if request and requests.begin_delivery(request, message.attempt, self._ports.clock.now_ms()):
            return request
        self._ports.telemetry.event(
            "notification_dropped", request_id=message.request_id, attempt=message.attempt
        )
        return None

    async def make(self, request: Request, addresses: Sequence[str] | PostResult) -> PostResult | None:
        """Make one attempt: fence, post and record. None if another notifier has it.

        `addresses`: the receiver's; a `PostResult` says why there are none, and is the attempt's result. The
        body is signed before the fence, so that without a secret no attempt is counted.
        """
        body = notification_body(request)
        headers = await self._ports.sign(body, request.id, self._ports.clock.now_ms() // 1000, request.client)
        started = await self._fence(request)
        if started is None:
            return None
        if isinstance(addresses, PostResult):
            result = addresses
        else:
            result = await self._ports.poster.post(started.webhook_url, addresses, headers, body)
        await self._record(started, result)
        return result

    async def park(self, request: Request, reason: str) -> bool:
        """Park a delivery without an attempt; False if another notifier changed it."""
        after = requests.park_delivery(request, self._ports.clock.now_ms(), reason)
        return isinstance(await self._ports.store.write_request(request, after), Written)

    async def _fence(self, request: Request) -> Request | None:
        after = requests.begin_delivery(request, request.delivery.attempts, self._ports.clock.now_ms())
        written = await self._ports.store.write_request(request, after) if after else None
        return written.record if isinstance(written, Written) else None

    async def _record(self, started: Request, result: PostResult) -> None:
        """End the delivery, or record the failure and send the message of the next attempt."""
        now_ms = self._ports.clock.now_ms()
        outcome = webhook.classify_answer(result, now_ms)
        after = self._after_attempt(started, outcome, result.excerpt, now_ms)
        written = await self._ports.store.write_request(started, after)
        self._report(after, outcome)
        wait_ms = after.delivery.not_before_ms - now_ms
        if isinstance(written, Written) and after.delivery_due and wait_ms <= DELAY_MS_MAX:
            text = NotificationMessage(after.job_id, after.id, after.delivery.attempts).encode()
            await self._ports.retries.send([text], delay_ms=max(0, wait_ms))

    def _after_attempt(self, started: Request, outcome: Outcome, excerpt: str, now_ms: int) -> Request:
        if outcome.kind is OutcomeKind.DELIVERED:
            return requests.delivered(started, now_ms, outcome.reason)
        if outcome.kind is OutcomeKind.GONE:
            return requests.delivery_gone(started, now_ms, outcome.reason, excerpt)
        next_ms = webhook.next_attempt_ms(
            started.delivery.attempts,
            now_ms,
            self._delays_ms,
            self._ports.randomness.fraction(),
            outcome.retry_after_ms,
        )
        if next_ms is None:
            return requests.undeliverable(started, now_ms, outcome.reason, excerpt)
        queued = next_ms - now_ms <= DELAY_MS_MAX
        return requests.delivery_failed(started, now_ms, next_ms, outcome.reason, excerpt, queued=queued)

    def _report(self, request: Request, outcome: Outcome) -> None:
        self._ports.telemetry.event(
            "webhook_attempted",
            {"WebhookAttempts": 1, f"Webhooks{request.delivery.state.title()}": 1},
            request_id=request.id,
            state=request.delivery.state,
            attempts=request.delivery.attempts,
            reason=outcome.reason,
        )
