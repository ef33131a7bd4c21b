"""The world around the functions: a table whose index lags, the upstream, the receivers, chance."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import TypeVar

from core.answers import Answer, Meaning
from core.due_index import DueKind, EndedKind, IndexRow
from core.errors import Unreadable
from core.gate import Gate
from core.job import Job
from core.request import Request
from core.scheduling import Due
from core.webhook import PostResult
from core.window import Change
from ports import Conflict, OwnKey, Page, RequestKey, Written
from proofs.simulation.checks import Checks, signature_of
from proofs.simulation.faults import CURRENT, Faults
from proofs.simulation.link import arrives_by_ms
from proofs.simulation.plan import CALM, Plan
from proofs.simulation.virtual_time import EPOCH_MS, VirtualClock
from tests.fakes.memory import MemoryJobStore, MemoryTable, MemoryWindow, MemoryWindowStore

LAG_MS = (0, 200)
LAG_LONG_MS = (1_000, 5_000)
NEVER_S = 10_000
FAR_RETRY_AFTER_MS = 60_000_000

Record = TypeVar("Record", Job, Request)


@dataclass(order=True, slots=True)
class _Shown:
    """A write that the index will show at some moment."""

    at_ms: int
    order: int
    job_id: str = field(compare=False)
    request_id: str = field(compare=False)
    record: Job | Request | None = field(compare=False)


class ObservedStore(MemoryJobStore):
    """The table, with every write checked, and an index that shows each one only after a while."""

    def __init__(self, table: MemoryTable, checks: Checks, faults: Faults, rng: Random) -> None:
        super().__init__(table)
        self._checks = checks
        self._faults = faults
        self._rng = rng
        self._index_table = MemoryTable()
        self._index = MemoryJobStore(self._index_table)
        self._to_show: list[_Shown] = []
        self._shown_at_ms: dict[tuple[str, str], int] = {}
        self._order = count()

    async def write_job(self, before: Job | None, after: Job) -> Written[Job] | Conflict[Job]:
        """Write, check, and show it later."""
        after = _as_newer(after)
        stored = self._table.jobs.get(after.id)
        result = await super().write_job(before, after)
        if isinstance(result, Written):
            instance = CURRENT.get()
            self._checks.job_written(stored, result.record, instance.name if instance else "")
            self._show_later(after.id, "", result.record)
        return result

    async def accept(self, request: Request) -> Request:
        """Store, check, and show it later."""
        known = request.id in self._table.pointers
        stored = await super().accept(request)
        if not known:
            self._checks.request_written(None, stored)
            self._show_later(stored.job_id, stored.id, stored)
        return stored

    async def write_request(self, before: Request, after: Request) -> Written[Request] | Conflict[Request]:
        """Write, check, and show it later."""
        after = _as_newer(after)
        stored = self._table.requests.get(after.job_id, {}).get(after.id)
        result = await super().write_request(before, after)
        if isinstance(result, Written):
            self._checks.request_written(stored, result.record)
            self._show_later(after.job_id, after.id, result.record)
        return result

    async def job(self, job_id: str) -> Job | None:
        """Return the job; raises `Unreadable` for one whose record can't be read."""
        self._require_readable(job_id)
        return await super().job(job_id)

    async def load(self, job_id: str) -> tuple[Job | None, Page]:
        """Return the job and its first page; raises `Unreadable` for one whose record can't be read."""
        self._require_readable(job_id)
        return await super().load(job_id)

    def _require_readable(self, job_id: str) -> None:
        job = self._table.jobs.get(job_id)
        if job and job.scheduled and job.message.startswith("unreadable"):
            raise Unreadable("a job can't be read")

    async def due_jobs(
        self,
        kind: DueKind,
        until_ms: int,
        limit: int,
        after: Due | None = None,
        *,
        client: str = "",
        from_ms: int = 0,
    ) -> list[Due]:
        """Return what the index shows by now."""
        index = self._shown()
        return await index.due_jobs(kind, until_ms, limit, after, client=client, from_ms=from_ms)

    async def due_requests(
        self, kind: DueKind, until_ms: int, limit: int, after: RequestKey | None = None, *, from_ms: int = 0
    ) -> list[RequestKey]:
        """Return what the index shows by now."""
        return await self._shown().due_requests(kind, until_ms, limit, after, from_ms=from_ms)

    async def ended(self, kind: EndedKind, limit: int) -> list[RequestKey]:
        """Return what the index shows by now."""
        return await self._shown().ended(kind, limit)

    async def own(self, client: str, limit: int, before: OwnKey | None = None) -> list[OwnKey]:
        """Return what the index shows by now."""
        return await self._shown().own(client, limit, before)

    async def count_before(self, row: IndexRow, limit: int) -> int:
        """Return what the index shows by now."""
        return await self._shown().count_before(row, limit)

    def expire(self) -> None:
        """Delete what may go, as DynamoDB's TTL does now and then."""
        now_ms = VirtualClock().now_ms()
        for job in [job for job in self._table.jobs.values() if job.expires_ms and job.expires_ms < now_ms]:
            self._checks.job_deleted(job)
            del self._table.jobs[job.id]
            self._show_later(job.id, "", None)

    def _show_later(self, job_id: str, request_id: str, record: Job | Request | None) -> None:
        """Writes of one item are shown in their order."""
        long = self._faults.rates is not CALM and self._rng.random() < self._faults.rates.slow
        key = job_id, request_id
        at_ms = VirtualClock().now_ms() + self._rng.randint(*(LAG_LONG_MS if long else LAG_MS))
        at_ms = self._shown_at_ms[key] = max(at_ms, self._shown_at_ms.get(key, 0))
        heappush(self._to_show, _Shown(at_ms, next(self._order), job_id, request_id, record))

    def _shown(self) -> MemoryJobStore:
        now_ms = VirtualClock().now_ms()
        while self._to_show and self._to_show[0].at_ms <= now_ms:
            self._show(heappop(self._to_show))
        return self._index

    def _show(self, row: _Shown) -> None:
        if isinstance(row.record, Request):
            self._index_table.requests.setdefault(row.job_id, {})[row.request_id] = row.record
        elif row.record is None:
            self._index_table.jobs.pop(row.job_id, None)
        else:
            self._index_table.jobs[row.job_id] = row.record


def _as_newer(record: Record) -> Record:
    """An instance of a newer version writes an attribute that others don't know."""
    instance = CURRENT.get()
    if instance is None or not instance.newer:
        return record
    return replace(record, others={**record.others, "of_a_newer_version": 1})


class ObservedWindow(MemoryWindowStore):
    """The window, with every slot that is taken counted."""

    def __init__(self, item: MemoryWindow, missing: Callable[[], Gate], checks: Checks) -> None:
        super().__init__(item, missing)
        self._checks = checks

    async def apply(self, change: Change) -> Written[Gate] | Conflict[Gate]:
        """Write and count."""
        result = await super().apply(change)
        if isinstance(result, Written):
            for index, slot in change.slots.items():
                seen = change.expected_slots.get(index)
                if slot.holder and seen and slot.holder != seen.holder and slot.free_at_ms > seen.free_at_ms:
                    self._checks.granted()
            self._checks.gate_written(result.record)
        return result


@dataclass(frozen=True, slots=True)
class _Reply:
    """What the upstream does with one call. `latency_s`: until its answer, once the call has arrived."""

    meaning: Meaning
    latency_s: float
    status: int = 0
    retry_after_ms: int | None = None


class SimulatedUpstream:
    """The upstream of the brief: outages per message, a slow tail, hangs, and now and then nonsense.

    A call that its caller has given up may still arrive, up to the grace later.
    """

    def __init__(self, plan: Plan, checks: Checks, faults: Faults, rng: Random) -> None:
        self._plan = plan
        self._checks = checks
        self._faults = faults
        self._rng = rng
        self._outage_until_s: dict[str, float] = {}

    async def sign(self, message: str, *, call_limit_ms: int, may_send: Callable[[], bool]) -> Answer:
        """Answer one call."""
        return await self._exchange(message, call_limit_ms, may_send, self._reply_to)

    async def probe(self, *, call_limit_ms: int, may_send: Callable[[], bool]) -> Answer:
        """Answer a probe of the key."""
        refused = self._faults.down("key")
        reply = (
            _Reply(Meaning.KEY_REFUSED, 0.05, status=401)
            if refused
            else _Reply(Meaning.WELCOME, 0.05, status=200)
        )
        return await self._exchange("", call_limit_ms, may_send, lambda _: reply)

    async def _exchange(
        self,
        message: str,
        call_limit_ms: int,
        may_send: Callable[[], bool],
        reply_to: Callable[[str], _Reply],
    ) -> Answer:
        end_s = _now_s() + call_limit_ms / 1000
        try:
            async with asyncio.timeout_at(end_s):
                await asyncio.sleep(self._connect_s())
        except TimeoutError:
            return Answer(Meaning.NEVER_SENT, reason="ConnectTimeout")
        if self._rng.random() < self._faults.rates.error or not may_send():
            return Answer(Meaning.NEVER_SENT, reason="ConnectError")
        instance = CURRENT.get()
        if message:
            until_ms = EPOCH_MS + _ms(end_s)
            inline = instance is not None and instance.name.startswith("api")
            self._checks.sent(message, until_ms=until_ms, inline=inline)
        with self._checks.call_under_way(message):
            return await self._sent(message, end_s, reply_to)

    async def _sent(self, message: str, end_s: float, reply_to: Callable[[str], _Reply]) -> Answer:
        """Answer a call that is on its way."""
        sent_s = _now_s()
        arrives_in_s = self._arrives_in_s(_ms(end_s - sent_s))
        asyncio.get_running_loop().call_later(arrives_in_s, self._checks.arrived, EPOCH_MS + _ms(sent_s))
        reply = reply_to(message)
        try:
            async with asyncio.timeout_at(end_s):
                await asyncio.sleep(arrives_in_s + reply.latency_s)
        except TimeoutError:
            return Answer(Meaning.UNANSWERED, reason="ReadTimeout", latency_ms=_ms(_now_s() - sent_s))
        return self._answer(message, reply, _ms(_now_s() - sent_s))

    @staticmethod
    def _answer(message: str, reply: _Reply, latency_ms: int) -> Answer:
        if reply.meaning is Meaning.UNANSWERED:  # the connection broke
            return Answer(Meaning.UNANSWERED, reason="ReadError", latency_ms=latency_ms)
        return Answer(
            reply.meaning,
            status=reply.status,
            signature=signature_of(message) if reply.meaning is Meaning.SIGNED else "",
            retry_after_ms=reply.retry_after_ms,
            first_byte_mono_ms=VirtualClock().monotonic_ms(),
            latency_ms=latency_ms,
        )

    def _connect_s(self) -> float:
        slow = self._rng.random() < self._faults.rates.slow
        return self._rng.uniform(0.5, 4) if slow else self._rng.uniform(0.002, 0.05)

    def _arrives_in_s(self, call_limit_ms: int) -> float:
        """How long the call is on its way; a late one arrives up to the grace after it was given up."""
        if self._rng.random() < self._faults.rates.slow:
            return self._rng.uniform(0, arrives_by_ms(call_limit_ms, self._plan.settings.timing) / 1000)
        return self._rng.uniform(0.001, 0.02)

    def _reply_to(self, message: str) -> _Reply:
        quick = self._plan.steady or self._rng.random() > 0.05
        latency_s = self._rng.uniform(0.1, 0.6) if quick else self._rng.uniform(1, 45)
        odd = None if self._plan.steady else self._odd_reply(latency_s)
        if reply := odd or self._troubled_reply(latency_s):
            return reply
        if message.startswith("forbidden"):
            return _Reply(Meaning.KEY_REFUSED, latency_s, 403)
        if message.startswith("refused"):
            return _Reply(Meaning.REFUSED, latency_s, 400)
        if self._degraded(message):
            return _Reply(Meaning.FAILED, latency_s, 502)
        return _Reply(Meaning.SIGNED, latency_s, 200)

    def _troubled_reply(self, latency_s: float) -> _Reply | None:
        """Every call meets the same answer for a while."""
        if self._faults.down("key"):
            return _Reply(Meaning.KEY_REFUSED, latency_s, 401)
        if self._faults.down("limit"):
            return _Reply(Meaning.LIMITED, latency_s, 429, self._rng.choice((None, 1_000, 30_000)))
        if self._faults.down("hang"):
            return _Reply(Meaning.UNANSWERED, NEVER_S)
        if self._faults.down("far_limit"):
            return _Reply(Meaning.LIMITED, latency_s, 429, FAR_RETRY_AFTER_MS)
        return None

    def _odd_reply(self, latency_s: float) -> _Reply | None:
        """One call in 25 meets what the upstream does not promise."""
        replies = (
            _Reply(Meaning.UNANSWERED, NEVER_S),
            _Reply(Meaning.UNANSWERED, NEVER_S),
            _Reply(Meaning.UNANSWERED, latency_s),
            _Reply(Meaning.FAILED, latency_s, 200),
            _Reply(Meaning.LIMITED, latency_s, 429, self._rng.choice((None, 1_000, 20_000))),
            _Reply(Meaning.KEY_REFUSED, latency_s, 401),
        )
        return self._rng.choice(replies) if self._rng.random() < 0.04 else None

    def _degraded(self, message: str) -> bool:
        """A message's outage, if it has one, begins with its first call."""
        if message.startswith("failing"):
            return True
        if message not in self._outage_until_s:
            healthy = self._rng.random() < self._plan.healthy_share and not message.startswith("again")
            lasts_s = 0.0 if healthy else self._rng.randint(*self._plan.outage_ms) / 1000
            self._outage_until_s[message] = _now_s() + lasts_s
        return _now_s() < self._outage_until_s[message]


class Receivers:
    """A `ports.Poster`: receivers of every temper, told apart by the host of their URL."""

    def __init__(self, checks: Checks, rng: Random) -> None:
        self._checks = checks
        self._rng = rng
        self._seen: dict[str, int] = {}

    async def resolve(self, url: str) -> Sequence[str] | PostResult:
        """Return one address for each host."""
        return [url.removeprefix("https://").partition("/")[0]]

    async def post(
        self,
        url: str,
        addresses: Sequence[str],  # noqa: ARG002 - every host has one
        headers: Mapping[str, str],
        body: bytes,
    ) -> PostResult:
        """Take one webhook."""
        await asyncio.sleep(self._rng.uniform(0.005, 0.3))
        kind = url.removeprefix("https://").split(".")[0]
        self._seen[url] = self._seen.get(url, 0) + 1
        result = self._answer(kind, self._seen[url])
        request_id = json.loads(body)["request_id"]
        self._checks.expect(headers["webhook-id"] == request_id, "G3: signed for another", request_id)
        self._checks.posted(request_id, body, result)
        if result.status is None:
            await asyncio.sleep(15)
        return result

    def _answer(self, kind: str, seen: int) -> PostResult:
        if kind == "gone":
            return _posted(410)
        if kind == "dead" or (kind == "flapping" and self._rng.random() < 0.5):
            return _posted(500)
        if kind == "silent":
            return PostResult(None, "timeout", None, "")
        if kind == "hanging" and self._rng.random() < 0.7:
            return PostResult(None, "timeout", None, "")
        if kind == "busy" and seen == 1:
            return PostResult(503, "http_503", self._rng.choice(("1", "20", "1200")), "")
        return _posted(204)


def _posted(status: int) -> PostResult:
    return PostResult(status, f"http_{status}", None, "")


class SeededRandomness:
    """A `ports.Randomness`."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def request_id(self, now_ms: int) -> str:
        """Return an id in the order of time."""
        digits = f"{now_ms:012x}{self._rng.getrandbits(80):020x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def token(self) -> str:
        """Return a token."""
        return f"{self._rng.getrandbits(64):016x}"

    def fraction(self) -> float:
        """Return a number in [0, 1)."""
        return self._rng.random()


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _ms(duration_s: float) -> int:
    return round(duration_s * 1000)
