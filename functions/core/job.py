"""A job: one distinct message, with its calls and its outcome.

Each transition returns the record to write; the store writes it only if the record is still the one that the
transition was made from. Times are integer milliseconds since the epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from typing import Any

from core.places import DueKind, Place

DAY_MS = 86_400_000
OUTCOME_KEPT_MS = 14 * DAY_MS
IDLE_KEPT_MS = 600_000


def job_id(message: str) -> str:
    """Return the id of a message's job: the SHA-256 of its exact UTF-8 bytes, in hex."""
    return sha256(message.encode()).hexdigest()


class JobState(StrEnum):
    """Where a message stands."""

    WAITING = "waiting"  # never called, somebody waits
    RETRYING = "retrying"  # called, somebody waits
    IDLE = "idle"  # nobody waits
    SIGNED = "signed"
    REFUSED = "refused"  # by the upstream, when it was last asked


@dataclass(frozen=True, slots=True)
class Call:
    """The call under way. Past `until_ms` it is over for everybody else, heard of or not."""

    id: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class Signature:
    """The upstream signed the message then."""

    text: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """The upstream refused to sign the message then, with this HTTP status."""

    status: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Waiter:
    """An open request that a job is to be called for. `sooner`: its caller has the shorter queue."""

    request_id: str
    client: str
    sooner: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """One distinct message.

    `attempts`: answered calls, and those that were sent and never answered; not the one under way. It is
    counted when a call is recorded, so a call that was lost before it was sent never counts.
    `next_try_ms`: before it the message is not called again; never sooner than the end of the call under way.
    `failing_since_ms`: when the first call of the present outage began.
    `error`: a short code of what its last call that brought nothing met, such as `http_502`.
    `key_refused_ms`: when it first met a 401 or 403, which may be its own or the key's; None if it did not.
    `due_ms`: when the processor is to call it; None if nobody waits for it.
    `oldest_ms`: when the oldest open request was accepted, as last seen.
    `open_from`: no open request that it is scheduled for has a smaller id: a call reads no history.
    `client`: the caller in whose queue it stands while it waits for its first call.
    `revision`: the store's; it changes with every write.
    `others`: stored attributes that this version does not know; they are written again as they are.
    """

    id: str
    message: str
    created_ms: int
    attempts: int = 0
    next_try_ms: int = 0
    call: Call | None = None
    outcome: Signature | Refusal | None = None
    failing_since_ms: int | None = None
    error: str = ""
    key_refused_ms: int | None = None
    due_ms: int | None = None
    oldest_ms: int = 0
    open_from: str = ""
    client: str = ""
    revision: str = ""
    others: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    @property
    def state(self) -> JobState:
        """Where it stands."""
        if self.outcome:
            return JobState.SIGNED if isinstance(self.outcome, Signature) else JobState.REFUSED
        if not self.scheduled:
            return JobState.IDLE
        return JobState.RETRYING if self.attempts else JobState.WAITING

    @property
    def scheduled(self) -> bool:
        """Whether the processor will call it."""
        return self.due_ms is not None

    @property
    def place(self) -> Place | None:
        """Where it stands on the due index."""
        if self.due_ms is None:
            return None
        if self.attempts:
            return Place(DueKind.RETRY, self.due_ms)
        return Place(DueKind.FRESH, self.due_ms, self.client)

    @property
    def queue(self) -> str | None:
        """The caller in whose queue it waits for its first call; None if it does not wait for one."""
        return self.client if self.scheduled and not self.attempts else None

    @property
    def expires_ms(self) -> int | None:
        """When the record may go: an outcome after two weeks, attempts soon after the next try."""
        if self.scheduled:
            return None
        if self.outcome:
            return self.outcome.at_ms + OUTCOME_KEPT_MS
        return max(self.created_ms, self.next_try_ms) + IDLE_KEPT_MS

    @property
    def signature(self) -> str:
        """The signature; empty without one."""
        return self.outcome.text if isinstance(self.outcome, Signature) else ""

    @property
    def refusal(self) -> int:
        """The HTTP status that the upstream refused it with; 0 if it did not."""
        return self.outcome.status if isinstance(self.outcome, Refusal) else 0

    def call_live(self, now_ms: int) -> bool:
        """Whether a call is under way."""
        return self.call is not None and now_ms < self.call.until_ms

    def fresh_signature(self, now_ms: int, ttl_ms: int) -> str:
        """Return the signature if it may still answer new callers, else an empty string."""
        return self.signature if self.outcome_is_fresh(now_ms, ttl_ms) else ""

    def refuses(self, now_ms: int, ttl_ms: int) -> bool:
        """Whether the upstream's refusal may still answer new callers."""
        return isinstance(self.outcome, Refusal) and self.outcome_is_fresh(now_ms, ttl_ms)

    def outcome_is_fresh(self, now_ms: int, ttl_ms: int) -> bool:
        """Whether there is an outcome that may still answer new callers."""
        return self.outcome is not None and now_ms < self.outcome.at_ms + ttl_ms

    def answers(self, accepted_ms: int, ttl_ms: int) -> bool:
        """Whether its outcome is a request's too: it was valid at the acceptance, or came later."""
        return self.outcome_is_fresh(accepted_ms, ttl_ms)

    def callable_by_api(self, now_ms: int, ttl_ms: int) -> bool:
        """Whether a new caller may try it inline: nobody else waits for it, and its next try is due."""
        if self.call_live(now_ms) or self.refuses(now_ms, ttl_ms) or self.scheduled:
            return False
        if self.signature:
            return not self.fresh_signature(now_ms, ttl_ms)
        return self.next_try_ms <= now_ms

    def callable_by_processor(self, now_ms: int) -> bool:
        """Whether its turn has come: due, and no call under way."""
        return self.due_ms is not None and self.due_ms <= now_ms and not self.call_live(now_ms)


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
#   A's own record is refused once D has fenced. A call that is never recorded does not count as an attempt.
def fence(
    job: Job,
    call_id: str,
    now_ms: int,
    *,
    call_for_ms: int,
    retry_ms: int,
    oldest_ms: int | None = None,
    open_from: str | None = None,
) -> Job:
    """Begin a call: nobody else calls until it has ended or `call_for_ms` has passed.

    If it is never recorded, the next call comes no sooner than a retry distance later. An expired signature
    goes: from here on the message is unsigned.
    """
    until_ms = now_ms + call_for_ms
    unanswered_next_ms = max(until_ms, now_ms + retry_ms)
    return replace(
        job,
        call=Call(call_id, until_ms),
        outcome=None,
        next_try_ms=unanswered_next_ms,
        failing_since_ms=now_ms if job.failing_since_ms is None else job.failing_since_ms,
        due_ms=unanswered_next_ms if job.scheduled else None,
        oldest_ms=job.oldest_ms if oldest_ms is None else oldest_ms,
        open_from=job.open_from if open_from is None else open_from,
    )


def schedule(
    job: Job | None,
    message: str,
    now_ms: int,
    waiter: Waiter | None = None,
    *,
    outcome_ttl_ms: int | None = None,
) -> Job:
    """Make sure that the processor calls it for this open request. Returns the same job if it does already.

    A job with an outcome is left as it is; but an outcome older than `outcome_ttl_ms` is asked for again.
    """
    if job is None:
        job = new_job(message, now_ms)
    if job.scheduled:
        return _waited_for(job, waiter) if waiter else job
    if job.outcome and (outcome_ttl_ms is None or job.outcome_is_fresh(now_ms, outcome_ttl_ms)):
        return job
    return replace(
        job,
        outcome=None,
        due_ms=max(now_ms, job.next_try_ms),
        oldest_ms=now_ms,
        open_from=waiter.request_id if waiter else "",
        client=waiter.client if waiter else job.client,
    )


def _waited_for(job: Job, waiter: Waiter) -> Job:
    """Return a scheduled job that this request too is found for, in the queue whose turn comes first."""
    moves = job.attempts == 0 and waiter.client != job.client and (waiter.sooner or not job.client)
    if not moves and job.open_from <= waiter.request_id:
        return job
    open_from = min(job.open_from, waiter.request_id)
    return replace(job, open_from=open_from, client=waiter.client if moves else job.client)


def entered(before: Job | None, after: Job) -> str | None:
    """Return the caller in whose queue a job begins to wait for its first call; None if it does not."""
    return None if before and before.queue == after.queue else after.queue


def park(job: Job) -> Job:
    """Nobody waits any more: the processor leaves it alone. Its attempts are remembered for a while."""
    return replace(job, due_ms=None)


def due_now(job: Job, now_ms: int) -> Job | None:
    """Let a job be called now instead of later; None if it is due, waits for nothing, or is being called."""
    if job.due_ms is None or job.due_ms <= now_ms or job.call_live(now_ms):
        return None
    return replace(job, next_try_ms=now_ms, due_ms=now_ms)


def without_call(current: Job, before: Job | None, now_ms: int, waiter: Waiter | None = None) -> Job:
    """Take a fence back to the job before it; where there was none, to one that was never called.

    A job that somebody came to wait for meanwhile is scheduled. An earlier call that had expired stays ended.
    """
    restored = replace(before or new_job(current.message, now_ms), call=None, others=current.others)
    if waiter is None and current.scheduled and not restored.scheduled:
        waiter = Waiter(current.open_from, current.client)
    return schedule(restored, current.message, now_ms, waiter) if waiter else restored


def signed(job: Job, signature: str, now_ms: int) -> Job:
    """Record the signature, whoever brings it."""
    return _ended(job, Signature(signature, now_ms))


def refused(job: Job, status: int, now_ms: int) -> Job:
    """Record that the upstream refuses to sign it: an outcome, which ends what came before."""
    return _ended(job, Refusal(status, now_ms))


def _ended(job: Job, outcome: Signature | Refusal) -> Job:
    return replace(
        job,
        attempts=job.attempts + 1,
        outcome=outcome,
        call=None,
        failing_since_ms=None,
        error="",
        key_refused_ms=None,
        next_try_ms=0,
        due_ms=None,
    )


def failed(
    job: Job, now_ms: int, next_try_ms: int, *, counted: bool, waiter: Waiter | None = None, error: str = ""
) -> Job:
    """Record that a call brought nothing; `waiter` is a request that waits for it now and did not before.

    `counted`: not for a call that was never sent, or whose failure says nothing about the message.
    """
    attempts = job.attempts + counted
    ended = replace(
        job,
        attempts=attempts,
        call=None,
        next_try_ms=next_try_ms,
        failing_since_ms=job.failing_since_ms if attempts else None,
        error=error,
        due_ms=next_try_ms if job.scheduled or waiter else None,
    )
    if waiter is None or job.scheduled:
        return ended
    return replace(ended, oldest_ms=now_ms, open_from=waiter.request_id, client=waiter.client)


def with_key_refused(job: Job, now_ms: int) -> Job:
    """Remember that the upstream refused the key or this message; the first time is what counts."""
    return replace(job, key_refused_ms=now_ms if job.key_refused_ms is None else job.key_refused_ms)
