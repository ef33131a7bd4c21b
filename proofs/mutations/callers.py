"""Faults in what keeps one caller, message, header or clock from stopping the others."""

from dataclasses import replace
from functools import partial
from typing import Any

from core.claim import Claim
from core.gate import Gate
from core.request import Request
from core.scheduling import Due
from core.window import Change
from ports import OwnKey
from proofs.mutations.fault import Fault, Function
from proofs.mutations.window import with_argument, with_awaited, with_result

API = "component/test_api.py::"
PROCESSOR = "component/test_processor.py::"
OPEN = "component/test_open_requests.py::"
BLOCK = partial(Fault, tests=("unit/test_window.py",))


def _not_done(_: Function) -> Function:
    async def nothing(*_args: Any, **_named: Any) -> None:
        return

    return nothing


def _of_one_caller(fresh: list[Due], *_: Any, **__: Any) -> list[Due]:
    return [replace(due, client="") for due in fresh]


def _alone(gate: Gate, client: str) -> Gate:
    """Return the gate as if the others left half of what they have."""
    return replace(
        gate, waiting={name: count if name == client else count // 2 for name, count in gate.waiting.items()}
    )


def _believed(change: Change | None, *_: Any) -> Change | None:
    """Let no call test the block before its end."""
    return change and replace(
        change, values={**change.values, "block_probe_at_ms": change.values["blocked_until_ms"]}
    )


def _as_the_first(right: Function) -> Function:
    """Process each request with a key as if nobody had used the key before."""

    async def answer(_: Any, claim: Claim, __: Any, work: Any) -> Any:
        return await work(claim.request_id)

    del right
    return answer


def _from_the_first(right: Function) -> Function:
    """Begin each page of a list one row too early."""

    async def own(store: Any, client: str, limit: int, before: OwnKey | None = None) -> Any:
        earlier = before and replace(before, created_ms=before.created_ms + 1)
        return await right(store, client, limit, earlier)

    return own


def _overwritten(right: Function) -> Function:
    """Close a request as it was read, whatever was written since."""

    async def close(outcomes: Any, _: Request, after: Request) -> Any:
        stored = await outcomes._store.request_of(after.job_id, after.id)  # noqa: SLF001
        return await right(outcomes, replace(stored, outcome=None), after) if stored else None

    return close


FAULTS = (
    Fault(
        "callers take no turns", {"choose": with_argument(0, _of_one_caller)}, ("unit/test_scheduling.py",)
    ),
    Fault(
        "one caller fills the backlog",
        {"admits": with_argument(3, lambda *args: replace(args[3], client_backlog_share=1.0))},
        (API + "test_one_caller_leaves_room_for_another",),
    ),
    Fault(
        "two callers fill the backlog",
        {"admits": with_argument(0, lambda gate, client, *_: _alone(gate, client))},
        ("unit/test_admission.py::test_a_further_caller_finds_room",),
    ),
    Fault(
        "a message has waiters without end",
        {"Signing._reached_limit": with_awaited(lambda _: None)},
        (API + "test_a_message_has_a_limit_of_waiters",),
    ),
    Fault(
        "a caller has open requests without end",
        {"Signing._reached_limit": with_awaited(lambda _: None)},
        (OPEN + "test_a_caller_has_a_limit_of_open_requests",),
    ),
    Fault(
        "requests that ended stay counted",
        {"Slots.count_later": lambda _: lambda *_: None},
        (OPEN + "test_requests_are_counted_until_they_end",),
    ),
    Fault(
        "requests that were not stored stay counted",
        {"take_back": with_result(lambda change, *_, **__: replace(change, increments={}))},
        (OPEN + "test_a_request_that_is_not_stored_is_not_counted",),
    ),
    Fault(
        "wrong counts of open requests stay wrong",
        {"OpenCounts.correct": _not_done},
        (OPEN + "test_a_wrong_count_is_corrected",),
    ),
    Fault(
        "an unknown number of waiters is no limit",
        {"Signing._message_full": with_awaited(lambda _: None)},
        (OPEN + "test_a_message_whose_waiters_cannot_be_counted_accepts_none",),
    ),
    Fault(
        "a caller keeps another's retry in its own queue",
        {"in_shortest_queue": with_result(lambda _, job, *__: job)},
        ("unit/test_job.py::test_a_retry_goes_back_to_the_shortest_queue",),
    ),
    Fault(
        "retries of all callers stand in one queue",
        {"choose": with_argument(1, lambda _, retries, *__, **___: _of_one_caller(retries))},
        (OPEN + "test_another_callers_retry_has_its_turn",),
    ),
    Fault(
        "an unknown backlog admits everything",
        {"admits_unseen": with_result(lambda *_, **__: True)},
        (API + "test_an_unknown_backlog_admits_a_safe_share_only",),
    ),
    Fault(
        "a call reads the history of its message",
        {"schedule": with_result(lambda job, *_, **__: replace(job, open_from=""))},
        (PROCESSOR + "test_a_message_costs_the_same_whatever_its_history",),
    ),
    Fault(
        "a caller that a crash left out has no turn",
        {"Sweep._count_waiting": _not_done},
        (PROCESSOR + "test_a_caller_that_a_crash_left_out_has_its_turn",),
    ),
    Fault(
        "wrong counts stay wrong",
        {"Counts.correct": _not_done},
        (PROCESSOR + "test_counts_are_set_right_by_what_the_index_shows",),
    ),
    Fault(
        "a message that is refused with 403 stops the others",
        {"KeyGuard.good_lately": with_result(lambda *_: False)},
        (PROCESSOR + "test_messages_that_are_refused_with_403_delay_nobody",),
    ),
    BLOCK("a far Retry-After is believed", {"window.block": with_result(_believed)}),
    Fault(
        "what a wrong clock has stored stands",
        {"bounded": with_result(lambda *_: None)},
        (PROCESSOR + "test_a_host_that_is_a_day_ahead_stops_nobody_for_a_day",),
    ),
    Fault(
        "an expired signature answers who came later",
        {"Job.answers": with_result(lambda *_: True)},
        (PROCESSOR + "test_an_expired_signature_answers_nobody_who_came_later",),
    ),
    Fault(
        "a 429 concerns only the message that got it",
        {"Window.limited_after": with_result(lambda *_: False)},
        (PROCESSOR + "test_a_permanent_429_leaves_no_request_in_the_queue_without_an_outcome",),
    ),
    Fault(
        "an old 429 gives requests up",
        {"Window.limited_after": with_argument(1, lambda *_: 0)},
        (PROCESSOR + "test_nobody_is_given_up_because_the_service_stood_still",),
    ),
    Fault("an idempotency key is ignored", {"Repeats.answer": _as_the_first}),
    Fault(
        "a key whose request may be stored is released",
        {"repeats._answered": with_argument("first", lambda *_, **__: True)},
        ("component/test_idempotency.py",),
    ),
    Fault(
        "what is stored under a key is refused",
        {"Signing._stored": with_awaited(lambda _: None)},
        ("component/test_idempotency.py",),
    ),
    Fault("a list shows a request twice", {"MemoryJobStore.own": _from_the_first}),
    Fault(
        "a silent cancellation is told",
        {"request.cancelled": with_argument("notify", lambda *_, **__: True)},
    ),
    Fault("a cancellation takes a recorded outcome back", {"Outcomes._close": _overwritten}, first_seed=183),
    Fault(
        "a hurried caller waits",
        {"Deadline.within": with_result(lambda _, deadline, __: deadline)},
        first_seed=10,
    ),
)
