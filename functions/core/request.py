"""A request: one accepted call of a caller, and the delivery of its webhook.

    accepted        outcome         attempt begins   answered          next attempt      last attempt fails
    |               |               |                |                 |                 |
    |-- open -------|-- pending ----|-- under way ---|-- pending ------|-- under way ----|-- undeliverable
    |               |               |                |                 |                 |
    due: look       due: RESEND_MS  due: when the    due: RESEND_MS    ...               not due; a replay
    again           after its       attempt can      after its         2xx: delivered    makes it pending
                    message         live no longer   message           410: gone

Every request that is not done has a due time. A queue message starts its attempt at once; if the message is
lost, the sweep finds the request when it is due and sends another one. An attempt is fenced by its number:
`begin_delivery` refuses a message that names another attempt, arrives early, or arrives during an attempt.

Each transition returns the record to write; the store writes it only if the record is still the one that the
transition was made from. Times are integer milliseconds since the epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal

from core import clocks
from core.due_index import DueKind, EndedKind, IndexRow
from core.job import OUTCOME_KEPT_MS, Job

LOOK_MS = 60_000
LOOK_MS_MAX = 600_000
RESEND_MS = 30_000
RESEND_MS_MAX = 900_000
DELIVERY_LIVE_MS = 30_000
PARKED_MS = 3_600_000
EARLY_MS = 1_000
"""How much too early an attempt may begin: clocks differ, and a dropped message costs RESEND_MS."""


CANCELLED = "cancelled"
CANCELLED_STATUS = 410
FAILURE_MESSAGES: Mapping[str, str] = {
    "attempts_exhausted": "The upstream failed all calls that are allowed for this message.",
    "too_old": "The upstream did not sign the message before the request reached its greatest age.",
    CANCELLED: "The caller cancelled the request before it was signed.",
    "purged_by_operator": "The operator ended the request before it was signed.",
}


class RequestState(StrEnum):
    """The state of a request."""

    OPEN = "open"
    SIGNED = "signed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Success:
    """The request ended with a signature."""

    signature: str


@dataclass(frozen=True, slots=True)
class Failure:
    """The request ended without a signature: the HTTP status and the reason, as the caller gets them."""

    status: int
    reason: str

    @property
    def message(self) -> str:
        """The reason in words, for the caller."""
        return FAILURE_MESSAGES.get(self.reason, "The upstream refuses to sign the message.")


class DeliveryState(StrEnum):
    """The state of a request's webhook."""

    NONE = "none"
    PENDING = "pending"
    DELIVERED = "delivered"
    GONE = "gone"
    UNDELIVERABLE = "undeliverable"


@dataclass(frozen=True, slots=True)
class Delivery:
    """The webhook of one request.

    `attempts`: how many attempts were begun. `until_ms`: when the fence of the attempt under way expires.
    `not_before_ms`: when the next attempt may begin. `reason`, `excerpt`: of the last attempt's answer.
    """

    state: DeliveryState = DeliveryState.NONE
    attempts: int = 0
    until_ms: int = 0
    not_before_ms: int = 0
    reason: str = ""
    excerpt: str = ""
    ended_ms: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """One accepted call of a caller.

    `attempts_before`, `key_blocked_ms`: the job's attempts, and the key guard's value, at acceptance.
    `estimated_ms`: when its first call should have ended, as its caller was told; None if not known.
    `reference`: the caller's own id for it. `outcome`: None while it is open.
    `calls`: how many calls ended between its acceptance and its outcome; None if not known.
    `due_ms`: when the sweep should look at it; every request that is not done has one.
    `revision`: set by the store; it changes with every write.
    `others`: stored attributes that this version does not know; they are written back unchanged.
    """

    id: str
    job_id: str
    message: str
    client: str
    webhook_url: str
    created_ms: int
    attempts_before: int = 0
    key_blocked_ms: int = 0
    estimated_ms: int | None = None
    reference: str = ""
    outcome: Success | Failure | None = None
    closed_ms: int = 0
    calls: int | None = None
    delivery: Delivery = Delivery()
    due_ms: int | None = None
    revision: str = ""
    others: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    @property
    def state(self) -> RequestState:
        """Its state, from its outcome."""
        if self.outcome is None:
            return RequestState.OPEN
        return RequestState.SIGNED if isinstance(self.outcome, Success) else RequestState.FAILED

    @property
    def open(self) -> bool:
        """Whether it has no outcome yet."""
        return self.outcome is None

    @property
    def signature(self) -> str:
        """The signature; empty without one."""
        return self.outcome.signature if isinstance(self.outcome, Success) else ""

    @property
    def failure(self) -> Failure | None:
        """Why there is no signature; None if there is one, or none yet."""
        return self.outcome if isinstance(self.outcome, Failure) else None

    @property
    def cancelled(self) -> bool:
        """Whether its caller cancelled it. Stored as a failure, because older versions know that."""
        return self.failure is not None and self.failure.reason == CANCELLED

    @property
    def public_state(self) -> Literal["open", "signed", "failed", "cancelled"]:
        """Its state, as callers are told."""
        if self.outcome is None:
            return "open"
        return "signed" if isinstance(self.outcome, Success) else "cancelled" if self.cancelled else "failed"

    @property
    def delivery_due(self) -> bool:
        """Whether its webhook is still to be delivered."""
        return self.delivery.state is DeliveryState.PENDING

    @property
    def undelivered(self) -> bool:
        """Whether its webhook was given up; it may be replayed."""
        return self.delivery.state in {DeliveryState.GONE, DeliveryState.UNDELIVERABLE}

    @property
    def ended_ms(self) -> int | None:
        """When it was done: the later of its outcome and its webhook's end; None while it is not done."""
        return None if self.open or self.delivery_due else max(self.closed_ms, self.delivery.ended_ms)

    @property
    def expires_ms(self) -> int | None:
        """When the record may be deleted; None while it is not done."""
        return None if self.ended_ms is None else self.ended_ms + OUTCOME_KEPT_MS

    @property
    def index_row(self) -> IndexRow | None:
        """Its row of the due index: by `due_ms`, or by `ended_ms` once it is done."""
        if self.due_ms is not None:
            return IndexRow(DueKind.OPEN if self.open else DueKind.DELIVERY, self.due_ms)
        if self.ended_ms is None:
            return None
        return IndexRow(EndedKind.UNDELIVERABLE if self.undelivered else EndedKind.DONE, self.ended_ms)

    def calls_of(self, job: Job | None) -> int | None:
        """How many calls of its job have ended since its acceptance; None if there is no job to ask."""
        return max(0, job.attempts - self.attempts_before) if job else None


def plausible(request: Request, now_ms: int) -> Request:
    """Return the request without times that can't be true; the same one if there are none.

    If its `due_ms` can't be true, neither is the time of its next webhook attempt believed.
    """
    delivery, due_ms = request.delivery, request.due_ms
    late = due_ms is not None and not clocks.possible(due_ms, now_ms, clocks.WAIT_MS_MAX)
    first = delivery.attempts == 0
    not_before_ms = clocks.past(delivery.not_before_ms, now_ms) if first else delivery.not_before_ms
    fenced = clocks.possible(delivery.until_ms, now_ms, DELIVERY_LIVE_MS)
    corrected = replace(
        request,
        created_ms=clocks.past(request.created_ms, now_ms),
        due_ms=now_ms if late else due_ms,
        delivery=replace(
            delivery,
            not_before_ms=min(now_ms, not_before_ms) if late else not_before_ms,
            until_ms=delivery.until_ms if fenced else 0,
        ),
    )
    return request if corrected == request else corrected


def first_look_ms(now_ms: int, estimated_ms: int | None) -> int:
    """When to look at a request whose job is scheduled: a minute after its first call should have ended.

    Earlier looks would find nothing to do. An estimate that can't be true counts as none.
    """
    known = estimated_ms and clocks.possible(estimated_ms, now_ms, clocks.WAIT_MS_MAX - LOOK_MS)
    return max(now_ms, estimated_ms if estimated_ms and known else 0) + LOOK_MS


def look_again(request: Request, job: Job, now_ms: int) -> Request:
    """Set when to look at an open request again: after as long as it has waited, from one minute to ten.

    While it waits for its first call, that is not before its first look would be.
    """
    request = plausible(request, now_ms)
    wait_ms = min(max(LOOK_MS, now_ms - request.created_ms), LOOK_MS_MAX)
    first_look = 0 if job.attempts else first_look_ms(now_ms, request.estimated_ms)
    return replace(request, due_ms=max(now_ms + wait_ms, first_look))


def close_signed(
    request: Request, signature: str, now_ms: int, *, calls: int | None = None, notify: bool = True
) -> Request:
    """Record the one outcome: a signature."""
    return _close(request, Success(signature), now_ms, calls=calls, notify=notify)


def close_failed(
    request: Request, status: int, reason: str, now_ms: int, *, calls: int | None = None, notify: bool = True
) -> Request:
    """Record the one outcome: a failure, with the HTTP status and reason that the caller is told."""
    return _close(request, Failure(status, reason), now_ms, calls=calls, notify=notify)


def cancelled(request: Request, now_ms: int, *, calls: int | None, notify: bool) -> Request:
    """Record the one outcome: its caller cancelled it."""
    return _close(request, Failure(CANCELLED_STATUS, CANCELLED), now_ms, calls=calls, notify=notify)


def _close(
    request: Request, outcome: Success | Failure, now_ms: int, *, calls: int | None, notify: bool
) -> Request:
    closed = replace(request, outcome=outcome, closed_ms=now_ms, calls=calls, due_ms=None)
    if not (notify and request.webhook_url):
        return closed
    pending = Delivery(DeliveryState.PENDING, not_before_ms=now_ms)
    return replace(closed, delivery=pending, due_ms=now_ms + RESEND_MS)


def begin_delivery(request: Request, attempt: int, now_ms: int) -> Request | None:
    """Fence one attempt; None if it is not the one that is due: its message is late, early or repeated."""
    request = plausible(request, now_ms)
    delivery = request.delivery
    if delivery.state is not DeliveryState.PENDING or delivery.attempts != attempt:
        return None
    if now_ms + EARLY_MS < max(delivery.until_ms, delivery.not_before_ms):
        return None
    until_ms = now_ms + DELIVERY_LIVE_MS
    begun = replace(delivery, attempts=attempt + 1, until_ms=until_ms)
    return replace(request, delivery=begun, due_ms=until_ms)


def park_delivery(request: Request, now_ms: int, reason: str) -> Request:
    """Park a delivery: it waits for its receiver together with others, in one message. This is no attempt.

    If that message is lost, the sweep finds the delivery after `PARKED_MS`.
    """
    waiting = replace(request.delivery, reason=reason)
    return replace(request, delivery=waiting, due_ms=now_ms + PARKED_MS)


def delivered(request: Request, now_ms: int, reason: str) -> Request:
    """End the delivery: the receiver has it."""
    return _end_delivery(request, DeliveryState.DELIVERED, now_ms, reason, "")


def delivery_gone(request: Request, now_ms: int, reason: str, excerpt: str) -> Request:
    """End the delivery: the receiver answered 410, it wants no more attempts."""
    return _end_delivery(request, DeliveryState.GONE, now_ms, reason, excerpt)


def undeliverable(request: Request, now_ms: int, reason: str, excerpt: str) -> Request:
    """End the delivery after its last attempt; it is kept for replay."""
    return _end_delivery(request, DeliveryState.UNDELIVERABLE, now_ms, reason, excerpt)


def _end_delivery(request: Request, state: DeliveryState, now_ms: int, reason: str, excerpt: str) -> Request:
    ended = replace(
        request.delivery, state=state, until_ms=0, reason=reason, excerpt=excerpt, ended_ms=now_ms
    )
    return replace(request, delivery=ended, due_ms=None)


def delivery_failed(
    request: Request, now_ms: int, next_ms: int, reason: str, excerpt: str, *, queued: bool
) -> Request:
    """Record a failed attempt; the next may begin at `next_ms`. `queued`: a message will start it then."""
    waiting = replace(request.delivery, until_ms=0, not_before_ms=next_ms, reason=reason, excerpt=excerpt)
    due_ms = next_ms + RESEND_MS if queued else next_ms
    return replace(request, delivery=waiting, due_ms=min(due_ms, now_ms + clocks.WAIT_MS_MAX))


def delivery_overdue_ms(request: Request, now_ms: int) -> int:
    """Return for how long the next attempt has been allowed to begin."""
    delivery = request.delivery
    return max(0, now_ms - max(delivery.not_before_ms, delivery.until_ms, request.closed_ms))


def attempt_due(request: Request, now_ms: int) -> bool:
    """Whether a webhook attempt may begin; a row of the due index may come earlier than a distant attempt."""
    return request.delivery_due and request.delivery.not_before_ms <= now_ms


def resend_delivery(request: Request, now_ms: int) -> Request:
    """Make a delivery due later, before its message, which may be lost, is sent again.

    Later by as long as it is overdue, from 30 s to 15 min: if no notifier runs, messages don't pile up. If
    its next attempt is still to come, it is due then, but no later than in `WAIT_MS_MAX`.
    """
    if not attempt_due(request, now_ms):
        return replace(request, due_ms=min(request.delivery.not_before_ms, now_ms + clocks.WAIT_MS_MAX))
    wait_ms = min(max(RESEND_MS, delivery_overdue_ms(request, now_ms)), RESEND_MS_MAX)
    return replace(request, due_ms=now_ms + wait_ms)


def replay_delivery(request: Request, now_ms: int) -> Request:
    """Make a delivery pending again, from its first attempt; the caller sends the message now."""
    pending = Delivery(DeliveryState.PENDING, not_before_ms=now_ms)
    return replace(request, delivery=pending, due_ms=now_ms + RESEND_MS)
