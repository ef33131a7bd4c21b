"""The three records that are the truth, and every transition that they can make.

A `Job` is one distinct message, a `Request` one accepted caller of it, a `Delivery` the webhook of a request.
Each transition returns the record to write; the store writes it only if the record is still the one that the
transition was made from. Times are integer milliseconds since the epoch.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import sha256

DAY_MS = 86_400_000
KEPT_MS = 14 * DAY_MS
IDLE_KEPT_MS = 600_000
FIRST_LOOK_MS = 5_000
LOOK_AGAIN_MS = 10_000
LOOK_SCHEDULED_MS = 60_000
RESEND_MS = 30_000
DELIVERY_LIVE_MS = 30_000
EARLY_MS = 1_000
"""How much too early an attempt may begin: clocks differ, and a dropped message costs RESEND_MS."""


def job_id(message: str) -> str:
    """Return the id of a message's job: the SHA-256 of its exact UTF-8 bytes, in hex."""
    return sha256(message.encode()).hexdigest()


class JobState(StrEnum):
    """Where a message stands."""

    WAITING = "waiting"  # never called, somebody waits
    RETRYING = "retrying"  # called, somebody waits
    IDLE = "idle"  # called, nobody waits
    SIGNED = "signed"
    REFUSED = "refused"  # by the upstream, when it was last asked


SCHEDULED = frozenset({JobState.WAITING, JobState.RETRYING})


@dataclass(frozen=True, slots=True)
class Job:
    """One distinct message.

    `attempts`: calls that counted, never restarted while the record exists.
    `call_id`, `call_until_ms`: the call that is under way; past that moment anyone may call.
    `next_try_ms`: before it the message is not called again.
    `due_ms`: where it stands on the due index; a scheduled job always has one.
    `oldest_ms`: when the oldest open request was accepted, as last seen.
    `revision`: the store's; it changes with every write.
    """

    id: str
    message: str
    created_ms: int
    state: JobState = JobState.IDLE
    attempts: int = 0
    call_id: str = ""
    call_until_ms: int = 0
    next_try_ms: int = 0
    failing_since_ms: int = 0
    due_ms: int | None = None
    oldest_ms: int = 0
    signature: str = ""
    signed_at_ms: int = 0
    refusal: int = 0
    refused_at_ms: int = 0
    expires_ms: int | None = None
    revision: str = ""

    @property
    def scheduled(self) -> bool:
        """Whether the processor will call it."""
        return self.state in SCHEDULED

    def call_live(self, now_ms: int) -> bool:
        """Whether a call is under way."""
        return bool(self.call_id) and now_ms < self.call_until_ms

    @property
    def ended_calls(self) -> int:
        """How many calls have come to something: the last one not while nothing is heard of it."""
        return self.attempts - bool(self.call_id)

    def fresh_signature(self, now_ms: int, ttl_ms: int) -> str:
        """Return the signature if it may still answer new callers, else an empty string."""
        return self.signature if self.signature and now_ms < self.signed_at_ms + ttl_ms else ""

    def refuses(self, now_ms: int, ttl_ms: int) -> bool:
        """Whether the upstream's refusal may still answer new callers."""
        return self.state is JobState.REFUSED and now_ms < self.refused_at_ms + ttl_ms

    def callable_by_api(self, now_ms: int, ttl_ms: int) -> bool:
        """Whether a new caller may try it inline: nobody else waits for it, and its next try is due."""
        if self.call_live(now_ms) or self.refuses(now_ms, ttl_ms) or self.scheduled:
            return False
        if self.signature:
            return not self.fresh_signature(now_ms, ttl_ms)
        return self.next_try_ms <= now_ms

    def callable_by_processor(self, now_ms: int) -> bool:
        """Whether its turn has come: scheduled, due, and no call under way."""
        return self.scheduled and not self.call_live(now_ms) and (self.due_ms or 0) <= now_ms


def new_job(message: str, now_ms: int) -> Job:
    """Return the record of a message that was never seen, not written yet."""
    return Job(job_id(message), message, now_ms)


# Two callers of one message. The write of `fence` lands only if the job is still the one that was read.
#
#   A  read ── fence ════════ call under way ════════ record: only if the fence is A's ──▶
#   B     read ── fence: refused, the job has changed
#   C                  read: a call is under way ──▶ nothing
#   D                                                  (A crashed)  fence expires ── read ── fence ═══▶
#              │◀─ send limit + call limit + margin ─▶│
#
#   A's own record is refused once D has fenced; an expired fence counts as a call.
def fence(
    job: Job, call_id: str, now_ms: int, *, call_for_ms: int, retry_ms: int, oldest_ms: int | None = None
) -> Job:
    """Begin a call: nobody else calls until it has ended or `call_for_ms` has passed.

    If nothing more is ever heard of it, it counts as a call, and the next one comes no sooner than a retry
    distance later. An expired signature goes: from here on the message is unsigned.
    """
    until_ms = now_ms + call_for_ms
    unanswered_next_ms = max(until_ms, now_ms + retry_ms)
    return replace(
        job,
        state=JobState.RETRYING if job.scheduled else JobState.IDLE,
        attempts=job.attempts + 1,
        call_id=call_id,
        call_until_ms=until_ms,
        next_try_ms=unanswered_next_ms,
        failing_since_ms=job.failing_since_ms or now_ms,
        due_ms=unanswered_next_ms if job.scheduled else None,
        oldest_ms=job.oldest_ms if oldest_ms is None else oldest_ms,
        signature="",
        signed_at_ms=0,
        refusal=0,
        refused_at_ms=0,
        expires_ms=None if job.scheduled else unanswered_next_ms + IDLE_KEPT_MS,
    )


def schedule(job: Job | None, message: str, now_ms: int, *, refusal_ttl_ms: int | None = None) -> Job:
    """Make sure that the processor calls it: somebody waits now. Returns the same job if it does already.

    A job with an outcome is left as it is; but a refusal older than `refusal_ttl_ms` is tested again.
    """
    if job is None:
        job = new_job(message, now_ms)
    if job.scheduled or job.signature:
        return job
    if job.state is JobState.REFUSED and (refusal_ttl_ms is None or job.refuses(now_ms, refusal_ttl_ms)):
        return job
    if job.attempts == 0:
        return replace(
            job, state=JobState.WAITING, due_ms=now_ms, oldest_ms=now_ms, next_try_ms=now_ms, expires_ms=None
        )
    return replace(
        job,
        state=JobState.RETRYING,
        due_ms=max(now_ms, job.next_try_ms),
        oldest_ms=now_ms,
        refusal=0,
        refused_at_ms=0,
        expires_ms=None,
    )


def park(job: Job) -> Job:
    """Nobody waits any more: the processor leaves it alone. Its attempts are remembered for a while."""
    return replace(
        job, state=JobState.IDLE, due_ms=None, expires_ms=max(job.next_try_ms, job.due_ms or 0) + IDLE_KEPT_MS
    )


def unfence(current: Job, before: Job | None, now_ms: int, *, wanted: bool = False) -> Job:
    """Take a fence back to the job before it; where there was none, to one that was never called.

    A job that somebody came to wait for meanwhile is scheduled. An earlier call that had expired stays ended:
    it has counted.
    """
    before = before and replace(before, call_id="", call_until_ms=0)
    if wanted or (current.scheduled and not (before and before.scheduled)):
        return schedule(before, current.message, now_ms)
    return before or replace(new_job(current.message, now_ms), expires_ms=now_ms + IDLE_KEPT_MS)


def signed(job: Job, signature: str, now_ms: int) -> Job:
    """Record the signature, whoever brings it."""
    return replace(
        job,
        state=JobState.SIGNED,
        signature=signature,
        signed_at_ms=now_ms,
        call_id="",
        call_until_ms=0,
        failing_since_ms=0,
        next_try_ms=0,
        due_ms=None,
        refusal=0,
        refused_at_ms=0,
        expires_ms=now_ms + KEPT_MS,
    )


def refused(job: Job, status: int, now_ms: int) -> Job:
    """Record that the upstream refuses to sign it: an outcome, which ends what came before."""
    return replace(
        job,
        state=JobState.REFUSED,
        refusal=status,
        refused_at_ms=now_ms,
        failing_since_ms=0,
        next_try_ms=0,
        call_id="",
        call_until_ms=0,
        due_ms=None,
        expires_ms=now_ms + KEPT_MS,
    )


def failed(job: Job, now_ms: int, next_try_ms: int, *, counted: bool, wanted: bool = False) -> Job:
    """Record that a call brought nothing; `wanted` says that somebody waits who did not before.

    A call that was certainly never sent, or that was not this message's fault, does not count.
    """
    expired = not job.call_live(now_ms)  # then it has counted already
    attempts = job.attempts if counted or expired else job.attempts - 1
    state = JobState.RETRYING if attempts else JobState.WAITING
    ended = replace(
        job,
        state=state,
        attempts=attempts,
        call_id="",
        call_until_ms=0,
        next_try_ms=next_try_ms,
        failing_since_ms=job.failing_since_ms if attempts else 0,
        due_ms=next_try_ms,
        expires_ms=None,
    )
    if job.scheduled:
        return ended
    return replace(ended, oldest_ms=now_ms) if wanted else park(ended)


class RequestState(StrEnum):
    """What became of a request."""

    OPEN = "open"
    SIGNED = "signed"
    FAILED = "failed"


class DeliveryState(StrEnum):
    """What became of a request's webhook."""

    NONE = "none"
    PENDING = "pending"
    DELIVERED = "delivered"
    GONE = "gone"
    UNDELIVERABLE = "undeliverable"


@dataclass(frozen=True, slots=True)
class Delivery:
    """The webhook of one request.

    `attempts`: how many times it was begun. `until_ms`: the attempt under way is alive until then.
    `not_before_ms`: when the next attempt may start.
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
    """One accepted caller. `attempts_before` and `key_blocked_ms`: the job's and the window's at acceptance.

    `estimated_ms`: when its first call was expected to have ended, as its caller was told; 0 if not known.
    `calls`: how many calls had ended since its acceptance when it was closed; None if not known.
    `due_ms`: where it stands on the due index; every request that is not done has one.
    """

    id: str
    job_id: str
    message: str
    client: str
    webhook_url: str
    created_ms: int
    attempts_before: int = 0
    key_blocked_ms: int = 0
    estimated_ms: int = 0
    state: RequestState = RequestState.OPEN
    signature: str = ""
    failure_status: int = 0
    failure_reason: str = ""
    closed_ms: int = 0
    calls: int | None = None
    delivery: Delivery = Delivery()
    due_ms: int | None = None
    expires_ms: int | None = None
    revision: str = ""

    @property
    def open(self) -> bool:
        """Whether its outcome is still to come."""
        return self.state is RequestState.OPEN

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
        """When the last of it ended, outcome or webhook; None while there is anything to be done."""
        return None if self.open or self.delivery_due else max(self.closed_ms, self.delivery.ended_ms)

    def calls_of(self, job: Job | None) -> int | None:
        """How many calls of its job have ended since its acceptance; None if there is no job to ask."""
        return max(0, job.ended_calls - self.attempts_before) if job else None


def look_again(request: Request, job: Job, now_ms: int) -> Request:
    """Put an open request back on the index: soon if a call is under way, later if the job is scheduled."""
    wait_ms = LOOK_AGAIN_MS if job.call_live(now_ms) else LOOK_SCHEDULED_MS
    return replace(request, due_ms=now_ms + wait_ms)


def close_signed(
    request: Request, signature: str, now_ms: int, *, calls: int | None = None, notify: bool = True
) -> Request:
    """Record the one outcome: a signature."""
    ended = replace(request, state=RequestState.SIGNED, signature=signature, calls=calls)
    return _close(ended, now_ms, notify=notify)


def close_failed(
    request: Request, status: int, reason: str, now_ms: int, *, calls: int | None = None, notify: bool = True
) -> Request:
    """Record the one outcome: a failure, with the HTTP status and reason that the caller is told."""
    ended = replace(
        request, state=RequestState.FAILED, failure_status=status, failure_reason=reason, calls=calls
    )
    return _close(ended, now_ms, notify=notify)


def _close(request: Request, now_ms: int, *, notify: bool) -> Request:
    closed = replace(request, closed_ms=now_ms, due_ms=None, expires_ms=now_ms + KEPT_MS)
    if not (notify and request.webhook_url):
        return closed
    pending = Delivery(DeliveryState.PENDING, not_before_ms=now_ms)
    return replace(closed, delivery=pending, due_ms=now_ms + RESEND_MS, expires_ms=None)


def begin_delivery(request: Request, attempt: int, now_ms: int) -> Request | None:
    """Fence one attempt; None if this is not the one that is due (a late, early or repeated message)."""
    delivery = request.delivery
    if delivery.state is not DeliveryState.PENDING or delivery.attempts != attempt:
        return None
    if now_ms + EARLY_MS < max(delivery.until_ms, delivery.not_before_ms):
        return None
    until_ms = now_ms + DELIVERY_LIVE_MS
    begun = replace(delivery, attempts=attempt + 1, until_ms=until_ms)
    return replace(request, delivery=begun, due_ms=until_ms)


def defer_delivery(request: Request, not_before_ms: int, reason: str) -> Request:
    """Put an attempt off that was never begun: the receiver is busy with others of ours. Not an attempt."""
    put_off = replace(request.delivery, not_before_ms=not_before_ms, reason=reason)
    return replace(request, delivery=put_off, due_ms=not_before_ms + RESEND_MS)


def delivered(request: Request, now_ms: int, reason: str) -> Request:
    """End the delivery: the receiver has it."""
    return _end_delivery(request, DeliveryState.DELIVERED, now_ms, reason, "")


def delivery_gone(request: Request, now_ms: int, reason: str, excerpt: str) -> Request:
    """End the delivery: the receiver wants no more of it."""
    return _end_delivery(request, DeliveryState.GONE, now_ms, reason, excerpt)


def undeliverable(request: Request, now_ms: int, reason: str, excerpt: str) -> Request:
    """End the delivery after its last attempt; it is kept for replay."""
    return _end_delivery(request, DeliveryState.UNDELIVERABLE, now_ms, reason, excerpt)


def _end_delivery(request: Request, state: DeliveryState, now_ms: int, reason: str, excerpt: str) -> Request:
    ended = replace(
        request.delivery, state=state, until_ms=0, reason=reason, excerpt=excerpt, ended_ms=now_ms
    )
    return replace(request, delivery=ended, due_ms=None, expires_ms=now_ms + KEPT_MS)


def delivery_failed(request: Request, next_ms: int, reason: str, excerpt: str, *, queued: bool) -> Request:
    """Record a failed attempt; the next may start at `next_ms`, by a message if one is `queued` for it."""
    waiting = replace(request.delivery, until_ms=0, not_before_ms=next_ms, reason=reason, excerpt=excerpt)
    return replace(request, delivery=waiting, due_ms=next_ms + RESEND_MS * queued)


def resend_delivery(request: Request, now_ms: int) -> Request:
    """Move a delivery whose message may be lost on along the index, before its message is sent again."""
    return replace(request, due_ms=now_ms + RESEND_MS)


def replay_delivery(request: Request, now_ms: int, *, queued: bool = True) -> Request:
    """Start a delivery again, from the first attempt, by a message if one is `queued` for it."""
    pending = Delivery(DeliveryState.PENDING, not_before_ms=now_ms)
    return replace(request, delivery=pending, due_ms=now_ms + RESEND_MS * queued, expires_ms=None)
