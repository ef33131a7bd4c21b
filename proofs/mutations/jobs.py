"""Faults in the order of the handlers' writes and in the transitions: each must make the simulation fail."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from api.signing import Accepted, Signed
from core import job as jobs
from core.answers import Answer, Meaning
from core.due_index import DueKind
from core.errors import Unavailable
from core.job import Job
from core.request import Request
from core.webhook import Outcome, OutcomeKind
from core.window import Grant, NotBefore
from ports import Queue
from proofs.mutations.fault import Breaking, Fault, Function
from proofs.mutations.window import with_argument, with_result, without_reset

MARGIN_MS = 250
NEVER_MS = 10**10
HOURS_MS = 5 * 3_600_000
"""Far too late, but not so far ahead that a wrong clock is suspected."""
LATE_MS = 20_000
PROCESSOR = ("component/test_processor.py",)

# Stores and ports


def never_shown(hidden: DueKind) -> Breaking:
    """Have the due index not show requests of this kind."""

    def breaking(right: Function) -> Function:
        async def due_requests(store: Any, kind: DueKind, *args: Any) -> Any:
            return [] if kind is hidden else await right(store, kind, *args)

        return due_requests

    return breaking


def _whatever_is_stored(kind: str) -> Breaking:
    """Take what is stored for what the writer had seen."""

    def stored(store: Any, _: Any, after: Any) -> Any:
        table = store._table  # noqa: SLF001
        records = table.jobs if kind == "job" else table.requests.get(after.job_id, {})
        return records.get(after.id)

    return with_argument(1, stored)


def _accepted_all_the_same(right: Function) -> Function:
    """Have a port take a request for stored whatever became of the write."""

    def getattr_(port: Any, method: str) -> Callable[..., Awaitable[Any]]:
        call: Callable[..., Awaitable[Any]] = right(port, method)

        async def accept(request: Request, *args: Any) -> Any:
            try:
                return await call(request, *args)
            except Unavailable:
                return request if method == "accept" else (request, None)

        return accept if method.startswith("accept") else call

    return getattr_


# Calls and outcomes


async def _idle_as_it_is(_: Any, job: Job | None, message: str) -> Job:
    return job or jobs.new_job(message, 0)


def _notified_first() -> dict[str, Breaking]:
    """Send the notifications of requests before they are closed, and none afterwards."""
    notify: list[Function] = []

    def silent(right: Function) -> Function:
        async def nothing(*_: Any) -> None: ...

        notify.append(right)
        return nothing

    def early(right: Function) -> Function:
        async def close(outcomes: Any, changes: Any) -> None:
            await notify[0](outcomes, [after for _, after in changes])
            await right(outcomes, changes)

        return close

    return {"Outcomes.notify": silent, "Outcomes.close": early}


async def _close_first(caller: Any, call: Any, answer: Any) -> None:
    await caller._outcomes.finish(call.fenced.id)  # noqa: SLF001
    await caller._record(call, answer)  # noqa: SLF001


def _park_at_last(right: Function) -> Function:
    async def finish(outcomes: Any, job_id: str) -> Any:
        still_open = await right(outcomes, job_id)
        if job := await outcomes._store.job(job_id):  # noqa: SLF001
            await outcomes.park(job)
        return still_open

    return finish


def _without_live_calls(right: Function) -> Function:
    """Have a function of a job find no call under way."""

    def wrong(*args: Any, **named: Any) -> Any:
        with patch.object(Job, "call_live", lambda *_: False):
            return right(*args, **named)

    return wrong


def _due_at_once(job: Job, _: Job, __: str, now_ms: int, **___: Any) -> Job:
    return replace(job, due_ms=now_ms) if job.scheduled else job


def _callable_at_any_time(right: Function) -> Function:
    def callable_by_api(job: Job, *args: Any) -> bool:
        return bool(_without_live_calls(right)(replace(job, next_try_ms=0), *args))

    return callable_by_api


def _as_ones_own(_: Any, current: Job | None, call: Any, *__: Any, **___: Any) -> Any:
    """Take whatever call is under way for the one that ended."""
    return replace(call, fenced=replace(call.fenced, call=current.call)) if current else call


def _signed_again(
    right: Job | None, recorder: Any, current: Job | None, _: Any, answer: Answer, **__: Any
) -> Job | None:
    if right is None and current and answer.meaning is Meaning.SIGNED:
        return jobs.signed(current, answer.signature, recorder._clock.now_ms())  # noqa: SLF001
    return right


def _unconditional(taken: Grant | NotBefore, *_: Any, **__: Any) -> Grant | NotBefore:
    """Make a take depend on nothing but the slot."""
    return replace(taken, change=replace(taken.change, expected={})) if isinstance(taken, Grant) else taken


# Wake-ups


class _Nowhere:
    """A queue that loses everything."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def send(self, texts: Sequence[str], *, delay_ms: int = 0) -> None: ...


class _Late(_Nowhere):
    """A queue that delivers everything 20 s late."""

    async def send(self, texts: Sequence[str], *, delay_ms: int = 0) -> None:
        await self._queue.send(texts, delay_ms=delay_ms + LATE_MS)


def _sent_by(queue: type[_Nowhere]) -> Breaking:
    def breaking(right: Function) -> Function:
        async def leave(wake_ups: Any, *args: Any, **named: Any) -> None:
            with patch.object(wake_ups, "_queue", queue(wake_ups._queue)):  # noqa: SLF001
                await right(wake_ups, *args, **named)

        return leave

    return breaking


def _only_the_first(right: Function) -> Function:
    """Trust a wake-up whose time is over."""
    return lambda hints, *args: not hints.wake_at_ms and right(hints, *args)


async def _nothing(*_: Any) -> None: ...


def _raised(_: Any, __: str, error: Unavailable) -> None:
    raise error


# Requests and deliveries


def _signed_as_accepted() -> dict[str, Breaking]:
    """Answer 202 for every request that was stored."""
    stored: dict[str, Request] = {}

    def remembered(right: Function) -> Function:
        async def accept(store: Any, request: Request, *args: Any) -> Any:
            stored[request.id] = request
            return await right(store, request, *args)

        return accept

    def answered(right: Function) -> Function:
        async def sign(signing: Any, ask: Any, *args: Any) -> Any:
            answer = await right(signing, ask, *args)
            accepted = isinstance(answer, Signed) and ask.request_id in stored
            return Accepted(stored[ask.request_id], None) if accepted else answer

        return sign

    return {"MemoryJobStore.accept": remembered, "Signing.sign": answered}


def _unfenced(request: Request, attempt: int, *_: Any) -> Request:
    return replace(request, delivery=replace(request.delivery, attempts=attempt, until_ms=0, not_before_ms=0))


def _delivered(outcome: Outcome, *_: Any) -> Outcome:
    failed = outcome.kind is not OutcomeKind.GONE
    return replace(outcome, kind=OutcomeKind.DELIVERED) if failed else outcome


# Times that can't be true


def _believed(record: Any, _: int) -> Any:
    return record


def _to_come(at_ms: int, now_ms: int, _: int) -> bool:
    return now_ms < at_ms


async def _uncorrected(*_: Any) -> None: ...


FAULTS = (
    Fault("a sweep that skips open requests", {"MemoryJobStore.due_requests": never_shown(DueKind.OPEN)}),
    Fault(
        "a sweep that skips lost deliveries", {"MemoryJobStore.due_requests": never_shown(DueKind.DELIVERY)}
    ),
    Fault(
        "a sweep that leaves a message that nobody calls idle", {"Sweep._scheduled": lambda _: _idle_as_it_is}
    ),
    Fault(
        "a sweep that gives up without a call's outcome",
        {"Outcomes.outcome": with_argument("after_call", lambda *_, **__: True)},
        first_seed=19,
    ),
    Fault("notified before it is closed", _notified_first()),
    Fault("closed before the outcome is on the job", {"Caller._record_and_close": lambda _: _close_first}),
    Fault("parked while requests are open", {"Outcomes.finish": _park_at_last}),
    Fault(
        "a request that is never due",
        {"MemoryJobStore.accept": with_argument(1, lambda _, request: replace(request, due_ms=None))},
    ),
    Fault("202 without a durable write", {"FaultyPort.__getattr__": _accepted_all_the_same}),
    Fault("202 for a request that was closed as answered", _signed_as_accepted(), first_seed=30),
    Fault("a job written whatever is stored", {"MemoryJobStore.write_job": _whatever_is_stored("job")}),
    Fault(
        "a request written whatever is stored",
        {"MemoryJobStore.write_request": _whatever_is_stored("request")},
        first_seed=10,
    ),
    Fault(
        "a live call not respected by the processor",
        {"Job.callable_by_processor": _without_live_calls, "fence": with_result(_due_at_once)},
    ),
    Fault("a live call not respected by the API", {"Job.callable_by_api": _callable_at_any_time}),
    Fault(
        "a fence that ends before its call",
        {"fence": with_argument("call_for_ms", lambda *_, **__: MARGIN_MS)},
    ),
    Fault(
        "a failure recorded on somebody else's call",
        {"Caller._recorded": with_argument(2, _as_ones_own)},
        first_seed=34,
    ),
    Fault("a signature recorded twice", {"Caller._recorded": with_result(_signed_again)}, first_seed=64),
    Fault("a delivery's fence ignored", {"begin_delivery": with_argument(0, _unfenced)}),
    Fault(
        "a failed delivery that is never due again",
        {"delivery_failed": with_result(lambda request, *_, **__: replace(request, due_ms=None))},
    ),
    Fault(
        "an open request that is looked at once only",
        {"look_again": with_result(lambda request, *_: replace(request, due_ms=request.due_ms + HOURS_MS))},
        first_seed=6,
    ),
    Fault("a failed attempt taken for a delivery", {"classify_answer": with_result(_delivered)}),
    Fault(
        "an old view of the gate takes a slot while paused",
        {"gate.take": with_result(_unconditional)},
        tests=("unit/test_gate.py",),
    ),
    Fault("a wake-up that is set and not sent", {"WakeUps.leave": _sent_by(_Nowhere)}),
    Fault("a wake-up that is sent too late", {"WakeUps.leave": _sent_by(_Late)}),
    Fault("an overdue wake-up that is never replaced", {"wake_up_needed": _only_the_first}),
    Fault("a run that ends without a wake-up", {"Run._set_wake_up": lambda _: _nothing}),
    Fault(
        "a run that does not look at its time",
        {"run_limit_ms": lambda _: lambda _: NEVER_MS},
        tests=PROCESSOR,
    ),
    Fault(
        "a record that can't be read stops the others",
        {"Run._skip": lambda _: _raised},
        tests=PROCESSOR,
    ),
    Fault("a request's times are believed", {"request.plausible": lambda _: _believed}),
    Fault("a job's times are believed", {"job.plausible": lambda _: _believed}),
    Fault("rows that are due in a year are not looked for", {"Sweep.correct": lambda _: _uncorrected}),
    Fault(
        "an end that can't be true is believed",
        {"clocks.to_come": lambda _: _to_come},
        tests=("unit/test_clocks.py",),
    ),
    Fault(
        "an event of the future is believed",
        {"clocks.past": lambda _: lambda at_ms, _: at_ms},
        tests=("unit/test_clocks.py",),
    ),
    Fault(
        "a call that was given up is kept by the kernel",
        {"socket_options": with_result(without_reset)},
        first_seed=46,
    ),
)
