"""Faults in the processor's events: wake-ups, budgets, and records at the head that can't be read."""

from functools import partial
from typing import Any

from core.hints import Hints
from proofs.mutations.fault import Fault, Function
from proofs.mutations.window import with_argument, with_result

RUNS = partial(Fault, tests=("component/test_processor.py",))
RULES = partial(Fault, tests=("unit/test_gate.py",))
API = partial(Fault, tests=("component/test_api.py",))

LATE_MS = 30_000


def _nothing(_: Function) -> Function:
    async def nothing(*_: Any, **__: Any) -> None: ...

    return nothing


def _any_wake_up(_: bool, hints: Hints, now_ms: int, at_ms: int) -> bool:
    return not now_ms <= hints.wake_at_ms <= at_ms


def _any_later_wake_up(_: bool, hints: Hints, now_ms: int, at_ms: int) -> bool:
    del at_ms
    return hints.wake_at_ms <= now_ms


def _never_replaced(_: bool, hints: Hints, now_ms: int, at_ms: int) -> bool:
    del now_ms, at_ms
    return not hints.wake_at_ms


def _first_only(turns: list[Any], *_: Any) -> list[Any]:
    return turns[:1]


def _late(wake_ups: Any, job_id: str, at_ms: int | None, **named: Any) -> int | None:
    del wake_ups, job_id, named
    return None if at_ms is None else at_ms + LATE_MS


FAULTS = (
    RUNS("a run ends without a wake-up", {"Run._set_wake_up": _nothing}),
    API("an acceptance sets a wake-up and sends none", {"MemoryQueue.send": _nothing}),
    RUNS("a wake-up is sent too late", {"WakeUps.leave": with_argument(2, _late)}),
    RULES("a wake-up that is too near is trusted", {"wake_up_needed": with_result(_any_wake_up)}),
    RULES("a wake-up that is too late is trusted", {"wake_up_needed": with_result(_any_later_wake_up)}),
    RULES("an overdue wake-up is never replaced", {"wake_up_needed": with_result(_never_replaced)}),
    RUNS("the job that a wake-up names is forgotten", {"DueJobs.name": _nothing}),
    RUNS("calls begin one after the other", {"Run._turns": with_result(_first_only)}),
    RUNS("two runs race for each slot", {"Run._give_way": _nothing}),
)
