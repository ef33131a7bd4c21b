"""A job: one distinct message, with its calls and its outcome.

Each transition returns the record to write; the store writes it only if the record is still the one that the
transition was made from. Times are integer milliseconds since the epoch.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from typing import Any

from core import clocks
from core.due_index import DueKind, IndexRow

DAY_MS = 86_400_000
OUTCOME_KEPT_MS = 14 * DAY_MS
IDLE_KEPT_MS = 600_000


def job_id(message: str) -> str:
    """Return the id of a message's job: the SHA-256 of its exact UTF-8 bytes, in hex."""
    return sha256(message.encode()).hexdigest()


class JobState(StrEnum):
    """The state of a message."""

    WAITING = "waiting"  # never called, a request waits
    RETRYING = "retrying"  # called before, a request waits
    IDLE = "idle"  # no request waits
    SIGNED = "signed"
    REFUSED = "refused"  # the last call's answer was that the upstream refuses the message


@dataclass(frozen=True, slots=True)
class Call:
    """The call under way: the fence. From `until_ms` on another call may begin, answered or not."""

    id: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class Signature:
    """The upstream signed the message at `at_ms`."""

    text: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """The upstream refused to sign the message at `at_ms`, with this HTTP status."""

    status: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Waiter:
    """An open request that waits for a job. `sooner`: its caller has a shorter queue than the job's."""

    request_id: str
    client: str
    sooner: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """One distinct message.

    `attempts`: how many calls were answered, or were sent and never answered. The call under way is not
    counted. A call is counted when its result is recorded, so a call that was lost before it was sent is not.
    `next_try_ms`: the message is not called again before; never earlier than the end of the call under way.
    `failing_since_ms`: when the first failed call in a row began.
    `error`: a short code for why the last call failed, such as `http_502`.
    `key_refused_ms`: when the first answer was 401 or 403: the upstream refuses the key or this message.
    None if there was no such answer.
    `due_ms`: when the processor should call it; None if no request waits for it.
    `oldest_ms`: when the oldest open request was accepted, as last read.
    `open_from`: the smallest id that an open request may have, so that a call does not read closed requests.
    `client`: the caller in whose queue the job waits.
    `revision`: set by the store; it changes with every write.
    `others`: stored attributes that this version does not know; they are written back unchanged.
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
        """Its state, from its outcome, schedule and attempts."""
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
    def index_row(self) -> IndexRow | None:
        """Its row of the due index; None if it is not scheduled."""
        if self.due_ms is None:
            return None
        if self.attempts:
            return IndexRow(DueKind.RETRY, self.due_ms, self.client)
        return IndexRow(DueKind.FRESH, self.due_ms, self.client)

    @property
    def queue(self) -> str | None:
        """The caller in whose queue it waits for its first call; None if it does not wait for one."""
        return self.client if self.scheduled and not self.attempts else None

    @property
    def expires_ms(self) -> int | None:
        """When the record may be deleted: two weeks after an outcome, else soon after `next_try_ms`."""
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
    def refusal(self) -> int | None:
        """The HTTP status that the upstream refused it with; None if it did not."""
        return self.outcome.status if isinstance(self.outcome, Refusal) else None

    def call_live(self, now_ms: int) -> bool:
        """Whether a call is under way."""
        return self.call is not None and clocks.to_come(self.call.until_ms, now_ms, clocks.CALL_MS_MAX)

    def fresh_signature(self, now_ms: int, ttl_ms: int) -> str:
        """Return the signature if it may still answer new callers, else an empty string."""
        return self.signature if self.outcome_is_fresh(now_ms, ttl_ms) else ""

    def refuses(self, now_ms: int, ttl_ms: int) -> bool:
        """Whether the upstream's refusal may still answer new callers."""
        return isinstance(self.outcome, Refusal) and self.outcome_is_fresh(now_ms, ttl_ms)

    def outcome_is_fresh(self, now_ms: int, ttl_ms: int) -> bool:
        """Whether there is an outcome that may still answer new callers."""
        return self.outcome is not None and clocks.to_come(self.outcome.at_ms + ttl_ms, now_ms, ttl_ms)

    def answers(self, accepted_ms: int, ttl_ms: int) -> bool:
        """Whether its outcome answers a request: it was still valid at the acceptance, or came later."""
        return self.outcome is not None and accepted_ms < self.outcome.at_ms + ttl_ms

    def callable_by_api(self, now_ms: int, ttl_ms: int) -> bool:
        """Whether the API may call it for a new request: no other request waits, and its next try is due."""
        if self.call_live(now_ms) or self.refuses(now_ms, ttl_ms) or self.scheduled:
            return False
        if self.signature:
            return not self.fresh_signature(now_ms, ttl_ms)
        return self.next_try_ms <= now_ms

    def callable_by_processor(self, now_ms: int) -> bool:
        """Whether the processor may call it: it is due, and no call is under way."""
        return self.due_ms is not None and self.due_ms <= now_ms and not self.call_live(now_ms)


def plausible(job: Job, now_ms: int) -> Job:
    """Return the job without times that can't be true; the same one if there are none."""
    if clocks.possible(max(job.next_try_ms, job.due_ms or 0), now_ms, clocks.WAIT_MS_MAX):
        return job
    due_ms = None if job.due_ms is None else now_ms
    key_refused_ms = None if job.key_refused_ms is None else clocks.past(job.key_refused_ms, now_ms)
    return replace(job, next_try_ms=now_ms, due_ms=due_ms, key_refused_ms=key_refused_ms)


def new_job(message: str, now_ms: int) -> Job:
    """Return a new job for a message that has none. It is not stored yet."""
    return Job(job_id(message), message, now_ms)


# Two callers of one message. The write of `fence` lands only if the job is still the one that was read.
#
#   A  read ── fence ════════ call under way ════════ record: only if the fence is A's ──▶
#   B     read ── fence: refused, the job has changed
#   C                  read: a call is under way ──▶ nothing
#   D                                                  (A crashed)  fence expires ── read ── fence ═══▶
#              │◀─ send limit + call limit + margin ─▶│
#
#   After D's fence A can't record its result. A call whose result is never recorded does not count.
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
    """Begin a call: no other call begins until this one has ended or `call_for_ms` has passed.

    If its result is never recorded, the next call begins at least `retry_ms` after this one. An expired
    signature is removed.
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
    """Schedule the job for this open request. Return the same job if nothing has to change.

    A job with an outcome is not changed, unless the outcome is older than `outcome_ttl_ms`: then the message
    is called again.
    """
    if job is None:
        job = new_job(message, now_ms)
    if job.scheduled:
        return _with_waiter(job, waiter) if waiter else job
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


def _with_waiter(job: Job, waiter: Waiter) -> Job:
    """Return a scheduled job that also covers this request, in the queue whose turn comes first."""
    moves = waiter.client != job.client and (waiter.sooner or not job.client)
    if not moves and job.open_from <= waiter.request_id:
        return job
    open_from = min(job.open_from, waiter.request_id)
    return replace(job, open_from=open_from, client=waiter.client if moves else job.client)


def in_shortest_queue(job: Job, clients: Collection[str], open_requests: Mapping[str, int]) -> Job:
    """Return a retry in the queue of the caller who waits for it and has the fewest open requests.

    Else a caller could have it in its own queue and then put many others there. `clients`: who waits for it.
    `open_requests`: counts; a caller without one comes last, because its queue may not be read.
    """
    if not job.attempts or not clients:
        return job
    client = min(clients, key=lambda each: (each not in open_requests, open_requests.get(each, 0), each))
    return job if client == job.client else replace(job, client=client)


def entered(before: Job | None, after: Job) -> str | None:
    """Return the caller in whose queue a job begins to wait for its first call; None if it does not."""
    return None if before and before.queue == after.queue else after.queue


def park(job: Job) -> Job:
    """Take a job off the schedule, because no request waits for it. Its attempts are kept for a while."""
    return replace(job, due_ms=None)


def due_now(job: Job, now_ms: int) -> Job | None:
    """Make a scheduled job due now; None if it is due already, is not scheduled, or is being called."""
    if job.due_ms is None or job.due_ms <= now_ms or job.call_live(now_ms):
        return None
    return replace(job, next_try_ms=now_ms, due_ms=now_ms)


def without_call(current: Job, before: Job | None, now_ms: int, waiter: Waiter | None = None) -> Job:
    """Undo a fence: return the job as it was before, or a new job if there was none.

    If a request began to wait during the call, the job is scheduled. An earlier call that had expired is not
    restored.
    """
    restored = replace(before or new_job(current.message, now_ms), call=None, others=current.others)
    if waiter is None and current.scheduled and not restored.scheduled:
        waiter = Waiter(current.open_from, current.client)
    return schedule(restored, current.message, now_ms, waiter) if waiter else restored


def signed(job: Job, signature: str, now_ms: int) -> Job:
    """Record the signature. A call whose fence has expired may record it too."""
    return _with_outcome(job, Signature(signature, now_ms))


def refused(job: Job, status: int, now_ms: int) -> Job:
    """Record that the upstream refuses to sign the message: an outcome, with the answer's HTTP status."""
    return _with_outcome(job, Refusal(status, now_ms))


def _with_outcome(job: Job, outcome: Signature | Refusal) -> Job:
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
    """Record a failed call. `waiter`: a request that waits for the job from now on.

    `counted`: false for a call that was never sent, or whose failure says nothing about the message.
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
    """Record when the upstream first refused the key or this message; later times don't change it."""
    return replace(job, key_refused_ms=now_ms if job.key_refused_ms is None else job.key_refused_ms)
