"""The guarantees, checked at every write, every call and every answer, and once more when all is at rest."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from core.gate import Gate
from core.job import Job, JobState, job_id
from core.request import EARLY_MS, Delivery, DeliveryState, Failure, Request, RequestState
from core.scheduling import RESERVE_MAX, GivingUp
from core.webhook import PostResult
from core.window import SEND_LIMIT_MS, Limits
from infra.ops.requests import PURGED
from proofs.simulation.plan import CALM, MARGIN_MS, Call, Plan
from proofs.simulation.troubles import SKEWS_MS, Trouble
from proofs.simulation.virtual_time import EPOCH_MS
from tests.fakes.memory import MemoryTable

ANSWER_MS_MAX = 2_000
JUST_ENDED_MS = 75_000
"""The longest that an instance may stand still between reading an outcome and writing what follows."""
AT_ONCE_MS = 1_000
OVERDUE_MS_MAX = 130_000
OVERLOOKED_MS_MAX = 200_000
"""A request whose API instance crashed is looked at after a minute, by the next run of the schedule."""
LAG_MS_MAX = 8_000
COUNTED_MS_MAX = 90_000
LATE_MS_MAX = 6_000
CLOSED_MS_MAX = 20_000
TOLD_MS_MAX = 5_000
WITHOUT_CLOCKS = ("no rest", "unforeseen", "status", "G3: no outcome", "G3: not told", "G3: wrong", "G3: two")
"""Rules that hold whatever clocks say: every promise is kept in the end."""
LOWERED_LIMITS = {Trouble.LIMITS, Trouble.VERSIONS}
"""An operator or a deployment may lower the limit when requests wait: then their calls take longer."""
SECOND = 2
PROGRESS = {"waiting": 0, "retrying": 1, "signed": 2, "failed": 2, "cancelled": 2}
DECLINED = frozenset({409, 429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, as its caller gets it. `request_id`: the id in its body."""

    status: int
    request_id: str
    body: Mapping[str, Any]

    @property
    def signed(self) -> bool:
        """Whether it has the signature."""
        return self.status == 200

    @property
    def accepted(self) -> bool:
        """Whether the outcome comes later."""
        return self.status == 202


def signature_of(message: str) -> str:
    """Return what the upstream of the simulation signs a message with."""
    return f"signed({message})"


class Checks:
    """Watches a whole simulated world, whose true time it knows. Violations are collected, not raised."""

    def __init__(self, plan: Plan, table: MemoryTable) -> None:
        self._plan = plan
        self._settings = plan.settings
        self._table = table
        self.violations: list[str] = []
        self.counts: defaultdict[str, int] = defaultdict(int)
        self.accepted: dict[str, Call] = {}
        self.declined: dict[str, Call] = {}
        self.answer_ms: dict[str, int] = {}
        self.told_ms: dict[str, int] = {}
        self._arrivals_ms: list[int] = []
        self._limits = [(0, plan.settings.limits)]
        self._paused_ms: int | None = None
        self._closed_ms = 0
        self._limited_ms = 0
        self._granted = 0
        self._sent = 0
        self._sends: defaultdict[str, int] = defaultdict(int)
        self._callers: dict[str, str] = {}
        self._under_way: set[str] = set()
        self._call_ended_ms: dict[str, int] = {}
        self.first_call_ms: dict[str, int] = {}
        self.second_call_ms: dict[str, int] = {}
        self._progress: dict[str, int] = {}
        self._outcomes: dict[str, tuple[Any, ...]] = {}
        self._posts: defaultdict[str, list[tuple[bytes, PostResult]]] = defaultdict(list)
        self._asked: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self._key_ids: dict[tuple[str, str], str] = {}

    @property
    def _calm(self) -> bool:
        """Whether nothing goes wrong on our side: then what only faults may delay is prompt."""
        return self._plan.rates is CALM

    def expect(self, holds: bool, rule: str, *what: object) -> None:
        """Note a violation unless the rule holds. While clocks are wrong, only what must hold even then."""
        judged = not self._wrong_clocks or rule.startswith(WITHOUT_CLOCKS)
        if not holds and judged:
            self.violations.append(f"{_elapsed_ms()} ms: {rule} {' '.join(map(str, what))}")

    @property
    def _wrong_clocks(self) -> bool:
        return not self._plan.troubles.isdisjoint(SKEWS_MS)

    # G1, G4, G7: calls

    def gate_written(self, gate: Gate) -> None:
        """The limits and the pause as they are from now on."""
        if gate.window.limits != self._limits[-1][1]:
            self._limits.append((_now_ms(), gate.window.limits))
        if gate.window.blocked_until_ms > _now_ms():
            self._limited_ms = _now_ms()
        if gate.paused != (self._paused_ms is not None):
            self._paused_ms = _now_ms() if gate.paused else None

    def granted(self) -> None:
        """A slot of the window was taken."""
        self._granted += 1

    def sent(self, message: str, *, until_ms: int, inline: bool) -> None:
        """A call is on its way: there is a slot for it, its fence outlives it, and it overtakes nobody."""
        self._sent += 1
        self._sends[job_id(message)] += 1
        self.expect(self._sent <= self._granted, "G7: a call without a slot", message)
        paused_for_ms = _now_ms() - (self._paused_ms or _now_ms())
        self.expect(paused_for_ms <= SEND_LIMIT_MS + MARGIN_MS, "called while paused", message)
        self.first_call_ms.setdefault(job_id(message), _now_ms())
        if self._sends[job_id(message)] == SECOND:
            self.second_call_ms[job_id(message)] = _now_ms()
        job = self._table.jobs.get(job_id(message))
        fenced = job is not None and (
            bool(job.signature) or (job.call is not None and job.call.until_ms >= until_ms)
        )
        self.expect(fenced, "a call that outlives its fence", message)
        if inline:
            self._overtakes_nobody(message)

    @contextmanager
    def call_under_way(self, message: str) -> Iterator[None]:
        """A caller waits for its call's answer: there are never two for one message."""
        self.expect(message not in self._under_way, "two calls at once for", message)
        self._under_way.add(message)
        try:
            yield
        finally:
            self._under_way.discard(message)

    def _overtakes_nobody(self, message: str) -> None:
        """A caller whom a fault left out of the count is entered by the next sweep, each minute."""
        lag_ms = LAG_MS_MAX if self._calm else LAG_MS_MAX + COUNTED_MS_MAX
        waiting = [
            job
            for job in self._table.jobs.values()
            if job.state is JobState.WAITING and (job.due_ms or 0) < _now_ms() - lag_ms
        ]
        self.expect(not waiting, "G4: overtaken", *(job.message for job in waiting), "by", message)

    def arrived(self, sent_ms: int) -> None:
        """A call reached the upstream: never more than N in any W, as they were when it was taken."""
        self._arrivals_ms.append(_now_ms())
        self.counts["upstream calls"] += 1
        exceeded = [limits for limits in self._limits_at(sent_ms) if self._exceeds(limits)]
        within = len(exceeded) < len(self._limits_at(sent_ms))
        self.expect(within, "G1: too many calls for", *exceeded)

    def _limits_at(self, sent_ms: int) -> list[Limits]:
        """Return the limits that a call may have been taken under."""
        taken_ms = sent_ms - SEND_LIMIT_MS - MARGIN_MS
        until = [at_ms for at_ms, _ in self._limits[1:]] + [sent_ms + 1]
        return [
            limits
            for (from_ms, limits), until_ms in zip(self._limits, until, strict=True)
            if from_ms <= sent_ms and until_ms >= taken_ms
        ]

    def _exceeds(self, limits: Limits) -> bool:
        if len(self._arrivals_ms) <= limits.calls:
            return False
        return self._arrivals_ms[-1] - self._arrivals_ms[-1 - limits.calls] < limits.window_ms

    def no_call_is_late(self, gate: Gate) -> None:
        """Without faults a call starts soon after it may: when it is due, and a slot is free for it."""
        if gate.closed(_now_ms()):
            self._closed_ms = _now_ms()
        then_ms = _now_ms() - LATE_MS_MAX
        if not self._calm or self._closed_ms > then_ms:
            return
        free = gate.window.free_slots(then_ms)
        for job in self._table.jobs.values():
            enough = free > (RESERVE_MAX if job.attempts else 0)
            late = job.due_ms is not None and job.due_ms <= then_ms and not job.call_live(then_ms)
            self.expect(not (late and enough), "not called in time", job.message)

    def ended_in_time(self, *, ended: bool, name: str) -> None:
        """Without faults nothing is stopped by its function's time limit."""
        self.expect(ended or not self._calm, "stopped at its time limit:", name)

    # G3, G6: records

    def job_written(self, before: Job | None, after: Job, writer: str) -> None:
        """Every transition of a job. `writer`: the instance, empty if it does not wait any more."""
        self._others_kept(before, after)
        self.expect(after.attempts <= self._sends[after.id], "counted, but never sent", after.id)
        if after.call and after.call.id not in self._callers:
            self._callers[after.call.id] = writer
            self._call_begun(before, after)
        if before and before.call and not after.call and not after.signature:
            own = writer in {"", self._callers[before.call.id]} or not before.call_live(_now_ms() - MARGIN_MS)
            self.expect(own, "a call ended by somebody else", after.id, writer)
        if before and before.call and before.call != after.call:
            self._call_ended_ms[after.id] = _now_ms()
        self.expect(not after.scheduled or after.due_ms is not None, "G3: scheduled, but never due", after.id)
        self.expect(not after.scheduled or after.expires_ms is None, "G3: scheduled, but expires", after.id)
        if before and before.signature:
            self.expect(
                not self._kept(before)
                or (after.state, after.signature) == (JobState.SIGNED, before.signature),
                "G6: signature lost",
                after.id,
            )
            again = self._kept(before) and after.outcome != before.outcome
            self.expect(not again, "G6: two recorded successes", after.id)
        if before and before.scheduled and after.state is JobState.IDLE:
            self.expect(not self._waited_for_long(after.id), "G3: parked while somebody waits", after.id)
        if after.signature and not (before and before.signature):
            self.counts["signed"] += 1
            self.expect(after.signature == signature_of(after.message), "G3: wrong signature", after.id)

    def _others_kept(self, before: Job | Request | None, after: Job | Request) -> None:
        """What a newer version wrote stays."""
        lost = before.others.keys() - after.others.keys() if before else ()
        self.expect(not lost, "attributes of a newer version were lost", after.id, *lost)

    def _call_begun(self, before: Job | None, after: Job) -> None:
        if before is None:
            return
        self.expect(not self._kept(before), "G6: called although signed", after.id)
        refused = before.refuses(_now_ms() + MARGIN_MS, self._settings.signature_ttl_ms)
        self.expect(not refused, "called although refused", after.id)
        live = before.call_live(_now_ms() + MARGIN_MS)
        self.expect(not live, "two calls for one message", after.id)
        too_early = not before.signature and before.next_try_ms > _now_ms() + MARGIN_MS
        self.expect(before.state is JobState.WAITING or not too_early, "called too early", after.id)
        if before.scheduled:
            self.expect(self._waited_for(after.id), "G5: called for nobody", after.id)

    def _kept(self, job: Job) -> bool:
        return bool(job.fresh_signature(_now_ms() + MARGIN_MS, self._settings.signature_ttl_ms))

    def _waited_for(self, wanted_id: str) -> bool:
        """Whether somebody waits for it, or did until a moment ago."""
        requests = self._table.requests.get(wanted_id, {}).values()
        moment_ms = AT_ONCE_MS if self._calm else JUST_ENDED_MS
        return any(request.open or _now_ms() - request.closed_ms < moment_ms for request in requests)

    def _has_open(self, wanted_id: str) -> bool:
        return any(request.open for request in self._table.requests_of(wanted_id))

    def _waited_for_long(self, wanted_id: str) -> bool:
        """Whether somebody waits whom nobody can have overlooked."""
        requests = self._table.requests.get(wanted_id, {}).values()
        return any(
            request.open and _now_ms() - request.created_ms > OVERLOOKED_MS_MAX for request in requests
        )

    def job_deleted(self, job: Job) -> None:
        """Only what nobody needs may go."""
        self.expect(not job.scheduled, "G3: a scheduled job was deleted", job.id)
        self.expect(not self._kept(job), "G6: a signature was deleted", job.id)

    def request_written(self, before: Request | None, after: Request) -> None:
        """Every transition of a request and its delivery."""
        self._others_kept(before, after)
        unfinished = after.open or after.delivery_due
        self.expect(not unfinished or after.due_ms is not None, "G3: unfinished, but never due", after.id)
        self.expect(not unfinished or after.expires_ms is None, "G3: unfinished, but expires", after.id)
        if before is None:
            self.expect(after.open, "G3: born closed", after.id)
            return
        if before.open and not after.open:
            self._closed(before, after)
        elif not before.open:
            self.expect(before.outcome == after.outcome, "G3: a second outcome", after.id)
        self._delivery_written(before.delivery, after.delivery, after.id)

    def _closed(self, before: Request, after: Request) -> None:
        """The truth is on the job before any request is closed, and giving up follows a call's outcome."""
        job = self._table.jobs.get(after.job_id)
        purged = isinstance(after.outcome, Failure) and after.outcome.reason == PURGED
        uncalled = after.cancelled and job is None
        self.expect(after.calls is not None or purged or uncalled, "closed without its calls", after.id)
        if self._calm and job and job.outcome and job.signature:
            since_ms = _now_ms() - max(job.outcome.at_ms, before.created_ms)
            self.expect(
                since_ms <= CLOSED_MS_MAX, "closed", since_ms, "ms after its job was signed", after.id
            )
        if after.state is RequestState.SIGNED:
            self.expect(after.signature == signature_of(after.message), "G3: wrong signature", after.id)
            recorded = job is not None and (job.signature == after.signature or job.call is not None)
            self.expect(recorded, "G3: closed before its job was signed", after.id)
        elif after.failure and after.failure.reason in set(GivingUp):
            self._given_up(before, after, job)

    def _given_up(self, before: Request, after: Request, job: Job | None) -> None:
        live = job is not None and job.call_live(_now_ms() + MARGIN_MS)
        self.expect(not live, "G3: given up while a call was under way", after.id)
        if after.failure and after.failure.reason == GivingUp.AGE:
            old = _now_ms() - before.created_ms >= self._settings.age_max_ms - MARGIN_MS
            self.expect(old, "G3: given up too young", after.id)
            just_ended = _now_ms() - self._call_ended_ms.get(after.job_id, 0) < JUST_ENDED_MS
            just_ended |= _now_ms() - self._limited_ms < self._settings.limits.window_ms + JUST_ENDED_MS
            self.expect(just_ended, "G3: given up without a call's outcome", after.id)
        elif job is not None:
            ended = job.attempts - before.attempts_before
            self.expect(ended >= self._settings.attempts_max, "G3: given up too early", after.id, ended)

    def _delivery_written(self, before: Delivery, after: Delivery, request_id: str) -> None:
        replayed = after.state is DeliveryState.PENDING and after.attempts == 0 and before.attempts > 0
        if replayed and Trouble.REPLAY in self._plan.troubles:
            return
        over = before.state not in {DeliveryState.NONE, DeliveryState.PENDING}
        self.expect(not over or after == before, "G3: a delivery went on after its end", request_id)
        self.expect(after.attempts in {before.attempts, before.attempts + 1}, "attempts jumped", request_id)
        if after.attempts != before.attempts:
            allowed_ms = _now_ms() + EARLY_MS + MARGIN_MS
            self.expect(before.until_ms <= allowed_ms, "two attempts at once", request_id)
            early = before.not_before_ms > allowed_ms
            self.expect(not early, "a webhook before its time", request_id)

    # G2, G3: answers

    def in_answer_time(self, took_ms: int, request_id: str, answer_ms_max: int = ANSWER_MS_MAX) -> None:
        """Every answer comes within two seconds of reaching the gateway, or sooner if its caller asked."""
        self.answer_ms[request_id] = max(took_ms, self.answer_ms.get(request_id, 0))
        self.expect(took_ms <= answer_ms_max, "G2: answered after", took_ms, "ms:", request_id)

    def asked(self, call: Call, request_id: str) -> None:
        """A caller sends a request under this id; with a key perhaps not for the first time."""
        if call.key:
            self._asked[call.client, call.key].add(request_id)

    def answered(self, call: Call, answer: Answer) -> None:
        """Every answer to a request to sign."""
        request_id = answer.request_id
        if call.key:
            self._repeated(call, answer)
        if answer.signed:
            self.counts["answered signed"] += 1
            right = answer.body["signature"] == signature_of(call.message)
            self.expect(right, "G3: wrong signature", request_id)
        elif answer.accepted:
            self.counts["answered accepted"] += 1
            self.accepted[request_id] = call
            self.expect(self.request(request_id) is not None, "G7: 202 without a durable write", request_id)
            self.expect(bool(call.webhook_url) or call.keep, "G3: 202 for nobody", request_id)
            self._holds_no_more_than_its_share(call)
        else:
            self.counts["answered declined"] += 1
            self.declined[request_id] = call
            self.expect(answer.status in DECLINED, "unforeseen answer:", answer.status, answer.body)

    def _repeated(self, call: Call, answer: Answer) -> None:
        """After a 202 its key never gets another request, nor an error."""
        used = call.client, call.key
        if kept_id := self._key_ids.get(used):
            self.counts["repeated"] += 1
            same = answer.status in {409, 503} or answer.request_id == kept_id
            kept = same and answer.status in {200, 202, 409, 503}
            self.expect(kept, "key: another answer than before", answer.status, answer.request_id, kept_id)
        elif answer.accepted:
            self._key_ids[used] = answer.request_id

    def cancelled(self, request_id: str, answer: Answer) -> None:
        """The answer to a caller that cancels its request."""
        request = self.request(request_id)
        if answer.status == 200:
            self.counts["cancelled"] += 1
            self.expect(request is not None and request.cancelled, "cancel: it is not:", request_id)
        else:
            ended = request is not None and not request.open and not request.cancelled
            self.expect(answer.status == 409 and ended, "cancel: refused:", answer.status, request_id)

    def listable(self, client: str) -> set[str]:
        """Return the caller's requests that the index must show by now."""
        return {
            request.id
            for requests in self._table.requests.values()
            for request in requests.values()
            if request.client == client and _now_ms() - request.created_ms > LAG_MS_MAX
        }

    def listed(self, client: str, seen: Sequence[str], wanted: set[str]) -> None:
        """All pages of a caller's list: each of its requests once, and nobody else's."""
        self.counts["listed"] += 1
        self.expect(len(set(seen)) == len(seen), "list: a request comes twice for", client)
        self.expect(wanted <= set(seen), "list: misses", *(wanted - set(seen)))
        owners = {request.client if (request := self.request(each)) else None for each in seen}
        self.expect(owners <= {client}, "list: shows requests of", *owners, "to", client)

    def _holds_no_more_than_its_share(self, call: Call) -> None:
        """One caller has few more open requests than it may: those that came at once, and a lost count."""
        requests = (row for rows in self._table.requests.values() for row in rows.values())
        held = sum(row.open and row.client == call.client for row in requests)
        allowed = 2 * self._settings.client_requests_max
        self.expect(held <= allowed, "G8: too many open requests of", call.client, held)

    def request(self, request_id: str) -> Request | None:
        """Return a request as it truly is."""
        wanted_id = self._table.pointers.get(request_id)
        return self._table.requests[wanted_id].get(request_id) if wanted_id else None

    def polled(self, request_id: str, answer: Answer) -> bool:
        """Check what the status API says of an accepted request; return whether that is its end."""
        known = answer.status in {200, 503}
        self.expect(known, "status: an accepted request is unknown", request_id, answer.status)
        if answer.status != 200:
            return not known
        state = answer.body["state"]
        progress = PROGRESS[state]
        back = progress < self._progress.get(request_id, 0)
        expired = Trouble.SLOW_CLOCKS in self._plan.troubles  # the record of its calls, and was deleted
        self.expect(not back or expired, "status: went back", request_id, state)
        self._progress[request_id] = progress
        told = state, answer.body.get("signature"), answer.body.get("failure")
        if progress < PROGRESS["signed"]:
            return False
        before = self._outcomes.setdefault(request_id, told)
        self.expect(before == told, "status: changed its outcome", request_id)
        return True

    def posted(self, request_id: str, body: bytes, result: PostResult) -> None:
        """Every webhook that reached a receiver: the same bytes each time, only for what was recorded."""
        posts = self._posts[request_id]
        posts.append((body, result))
        self.counts["webhooks"] += 1
        self.told_ms.setdefault(request_id, _now_ms())
        self.expect(posts[0][0] == body, "G3: two bodies for one request", request_id)
        request = self.request(request_id)
        self.expect(request is not None and not request.open, "G3: told before it was closed", request_id)
        if self._calm and request and len(posts) == 1 and "good" in request.webhook_url:
            since_ms = _now_ms() - request.closed_ms
            self.expect(since_ms <= TOLD_MS_MAX, "told", since_ms, "ms after it was closed", request_id)

    # Rest

    def in_time(self) -> None:
        """After the faults, whatever is due is dealt with soon."""
        for requests in self._table.requests.values():
            for request in requests.values():
                overdue_ms = _now_ms() - (request.due_ms or _now_ms())
                self.expect(
                    overdue_ms <= OVERDUE_MS_MAX, "G3: nobody looks at", request.id, overdue_ms, "ms overdue"
                )

    def unfinished(self) -> list[str]:
        """Return what stands on the due index still.

        A job that no request waits for may stay there with the time that a wrong clock gave it.
        """
        jobs = [
            f"job {job.message} {job.state}"
            for job in self._table.jobs.values()
            if job.due_ms is not None and (not self._wrong_clocks or self._has_open(job.id))
        ]
        requests = [
            f"request {request.id} {request.state} {request.delivery.state}"
            for requests in self._table.requests.values()
            for request in requests.values()
            if request.due_ms is not None
        ]
        return jobs + requests

    def at_rest(self) -> None:
        """Whoever got a 202 has one outcome, and was told; nobody else was told anything."""
        for request_id, call in self.accepted.items():
            request = self.request(request_id)
            self.expect(request is not None and not request.open, "G3: no outcome for", request_id)
            unwanted = request and request.cancelled and call.cancels and not call.cancels.notify
            if request and unwanted:
                self.expect(request_id not in self._posts, "cancel: told all the same", request_id)
            elif request and call.webhook_url:
                self._told(request)
        for (client, key), ids in self._asked.items():
            stored = [request_id for request_id in ids if self.request(request_id)]
            self.expect(len(stored) <= 1, "key: two requests for", client, key, *stored)
        for request_id in self._posts:
            known = self.request(request_id) is not None
            self.expect(known, "G3: a webhook for a request that was never written", request_id)
        if self._plan.troubles.isdisjoint(LOWERED_LIMITS):
            self._served_in_time()

    def _told(self, request: Request) -> None:
        statuses = [result.status for _, result in self._posts[request.id]]
        taken, refused = 204 in statuses, any(status != 204 for status in statuses)
        by_state = {
            DeliveryState.DELIVERED: taken,
            DeliveryState.GONE: refused,
            DeliveryState.UNDELIVERABLE: refused,
        }
        told = by_state.get(request.delivery.state, False)
        self.expect(told, "G3: not told:", request.id, request.delivery.state)

    def _served_in_time(self) -> None:
        """An accepted request has its first call within half of the greatest age, not counting faults."""
        for request_id in self.accepted:
            request = self.request(request_id)
            if request is None:
                continue
            called_ms = self.first_call_ms.get(request.job_id, _now_ms())
            ended_ms = called_ms if request.open else min(called_ms, request.closed_ms)
            faults_end_ms = 0 if self._calm else EPOCH_MS + self._plan.faults_end_ms
            waited_ms = ended_ms - max(request.created_ms, faults_end_ms)
            allowed_ms = self._settings.age_max_ms // 2 + self._burst_ms(request)
            self.expect(waited_ms <= allowed_ms, "G4: waited", waited_ms, "ms:", request_id)

    def _burst_ms(self, request: Request) -> int:
        """How much longer it may take: a lease, and what came so close that the index did not show it yet."""
        limits, timing = self._settings.limits, self._settings.timing
        close = [
            other
            for other in map(self.request, self.accepted)
            if other and abs(other.created_ms - request.created_ms) < LAG_MS_MAX
        ]
        lease_ms = timing.lease_ms(self._settings.call_limit_ms, limits.window_ms)
        return lease_ms + (len(close) // limits.calls + 1) * (limits.window_ms + 1_000)


def _now_ms() -> int:
    return EPOCH_MS + _elapsed_ms()


def _elapsed_ms() -> int:
    return round(asyncio.get_running_loop().time() * 1000)
