"""Faults in the window, its slots, the scheduling and the transport: each must make a fast test fail."""

import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

import httpx

from adapters.upstream import SocketOption
from core.answers import Answer, Meaning
from core.gate import Gate
from core.scheduling import Inline
from core.window import Change, Grant, NotBefore, Permit, Slot, Timing, Window
from ports import Conflict, Written
from proofs.mutations.fault import Breaking, Fault, Function


def with_argument(position: int | str, changed: Callable[..., Any]) -> Breaking:
    """Hand on another argument than was given: `changed` makes it of all arguments, `self` included."""

    def breaking(right: Function) -> Function:
        def wrong(*args: Any, **named: Any) -> Any:
            if isinstance(position, str):
                return right(*args, **{**named, position: changed(*args, **named)})
            new = changed(*args, **named)
            return right(*args[:position], new, *args[position + 1 :], **named)

        return wrong

    return breaking


def with_result(changed: Callable[..., Any]) -> Breaking:
    """Return another result: `changed` makes it of the right one and all arguments."""
    return lambda right: lambda *args, **named: changed(right(*args, **named), *args, **named)


def with_awaited(changed: Callable[[Any], Any]) -> Breaking:
    """Return another result of an async function."""

    def breaking(right: Function) -> Function:
        async def wrong(*args: Any, **named: Any) -> Any:
            return changed(await right(*args, **named))

        return wrong

    return breaking


# The slots


def _question_without(clock_method: str, right: Function) -> Function:
    """Ask whether a call may be sent with one of the two clocks standing still since the take."""

    def may_send(slots: Any, lease: Any, *args: Any, **named: Any) -> Callable[[], bool]:
        question = right(slots, lease, *args, **named)
        taken_ms = lease.permit.taken_at_ms if clock_method == "now_ms" else lease.taken_mono_ms

        def asked() -> bool:
            with patch.object(slots._clock, clock_method, lambda: taken_ms):  # noqa: SLF001
                return bool(question())

        return asked

    return may_send


def _awake(right: Function) -> Function:
    """Settle as if wall time had passed as monotonic time did."""

    async def settle(slots: Any, lease: Any, answer: Answer) -> None:
        clock = slots._clock  # noqa: SLF001
        with patch.object(clock, "now_ms", lambda: lease.wall_ms(clock.monotonic_ms())):
            await right(slots, lease, answer)

    return settle


def _unanswered_as_unsent(_: Any, __: Any, answer: Answer) -> Answer:
    return replace(answer, meaning=Meaning.NEVER_SENT) if answer.meaning is Meaning.UNANSWERED else answer


def _write_and_look_no_further(_: Function) -> Function:
    async def carry_out(slots: Any, grant: Grant, *_: Any) -> Any:
        return await slots._apply(grant.change)  # noqa: SLF001

    return carry_out


def _conflict_as_written(right: Function) -> Function:
    async def amend(seen: Any, decide: Any, write: Any, **named: Any) -> Any:
        async def written(*args: Any) -> Any:
            result = await write(*args)
            return Written(result.record) if isinstance(result, Conflict) else result

        return await right(seen, decide, written, **named)

    return amend


# The window


def _whoever_holds(window: Window, permit: Permit, *_: Any) -> Permit:
    return replace(permit, id=window.slots[permit.slot].holder)


def _of_these_limits(window: Window, permit: Permit) -> Permit:
    return replace(permit, limits=window.limits)


def _a_moment_early(right: Function) -> Function:
    def take(window: Window, now_ms: int, **named: Any) -> Any:
        decision = right(window, now_ms, **named)
        return right(window, now_ms + 1, **named) if isinstance(decision, NotBefore) else decision

    return take


def _by_business(window: Window, *, longest_first: bool) -> list[Slot]:
    return sorted(window.slots, key=lambda slot: slot.free_at_ms, reverse=longest_first)


def _keeping(
    change: Change, window: Window, calls: int, *_: Any, longest_first: bool = True, **__: Any
) -> Change:
    """Keep some of the slots as they are."""
    kept = _by_business(window, longest_first=longest_first)[:calls]
    return replace(change, slots=dict(change.slots) | dict(enumerate(kept)))


def _new_ones_free(change: Change, window: Window, calls: int, *_: Any, **__: Any) -> Change:
    new = {index: Slot() for index in range(len(window.slots), calls)}
    return replace(change, slots=dict(change.slots) | new)


def _same_version(change: Change, window: Window, *_: Any, **__: Any) -> Change:
    assert change.limits
    return replace(change, limits=replace(change.limits, version=window.limits.version))


def _no_margin(_: Window, __: Permit, ___: int, timing: Timing, *____: Any) -> Timing:
    return replace(timing, margin_ms=0)


def _any_slot(gate: Gate, change: Change) -> Change:
    slots = dict(enumerate(gate.window.slots))
    return replace(change, expected_slots={index: slots[index] for index in change.expected_slots})


def _any_version(gate: Gate, change: Change) -> Change:
    return replace(change, limits_version=gate.window.limits.version)


# The transport


def without_reset(options: list[SocketOption], *_: int) -> list[SocketOption]:
    """Let the kernel send a call again after it was given up."""
    return [option for option in options if option[1] != socket.SO_LINGER]


def _kept_for_two_minutes(options: list[SocketOption], *_: int) -> list[SocketOption]:
    others = [option for option in options if option[1] != socket.TCP_USER_TIMEOUT]
    return [*others, (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 120_000)]


def _following_redirects(client: httpx.AsyncClient, *_: Any) -> httpx.AsyncClient:
    client.follow_redirects = True
    return client


def _once_more(right: Function) -> Function:
    async def exchange(*args: Any) -> Any:
        try:
            return await right(*args)
        except httpx.HTTPError:
            return await right(*args)

    return exchange


WINDOW = partial(Fault, tests=("unit/test_window.py",))
SLOTS = partial(Fault, tests=("unit/test_slots.py",))
STORE = partial(Fault, tests=("contract/test_window_store.py", "unit/test_window.py"))
SCHEDULING = partial(Fault, tests=("unit/test_scheduling.py",))
SEND = partial(Fault, tests=("unit/test_one_send.py",))

FAULTS = (
    SLOTS(
        "settled at the time of sending",
        {"settle": with_argument(2, lambda _, permit, *__: permit.taken_at_ms)},
    ),
    SLOTS("an unknown outcome is settled", {"Slots.settle": with_argument(2, _unanswered_as_unsent)}),
    WINDOW("a lease without W", {"Timing.lease_ms": with_argument(2, lambda *_: 0)}),
    WINDOW(
        "a lease without the time limit of the call",
        {"Timing.lease_ms": with_argument(1, lambda *_: 0)},
    ),
    SEND(
        "the send deadline is dropped",
        {"HttpUpstream.sign": with_argument("may_send", lambda *_, **__: lambda: True)},
    ),
    SLOTS(
        "the send deadline is judged by monotonic time alone",
        {"Slots.may_send": partial(_question_without, "now_ms")},
    ),
    SLOTS(
        "the send deadline is judged by wall time alone",
        {"Slots.may_send": partial(_question_without, "monotonic_ms")},
    ),
    SLOTS("sleep is not noticed", {"Slots.settle": _awake}),
    WINDOW("the holder is not checked", {"settle": with_argument(1, _whoever_holds)}),
    SLOTS("a take that had landed is not recognised", {"Slots._write_grant": _write_and_look_no_further}),
    SLOTS("a lost race is a grant", {"amend": _conflict_as_written}),
    STORE("the slot's state is no condition", {"_unchanged": with_argument(1, _any_slot)}),
    STORE("the version is no condition", {"_unchanged": with_argument(1, _any_version)}),
    WINDOW("the version does not change with the limits", {"change_limits": with_result(_same_version)}),
    WINDOW("no margin for clocks", {"settle": with_argument(3, _no_margin)}),
    WINDOW("a slot is free a moment early", {"window.take": _a_moment_early}),
    WINDOW(
        "a lower limit drops the busiest slots",
        {"change_limits": with_result(partial(_keeping, longest_first=False))},
    ),
    WINDOW(
        "a limit lowered and raised again forgets the calls between",
        {"change_limits": with_result(_new_ones_free)},
    ),
    WINDOW(
        "a kept slot does not wait for the calls of dropped ones",
        {"settle": with_argument(0, lambda window, *_: replace(window, tightened_until_ms=0))},
    ),
    WINDOW("a longer window waits for each slot's own call only", {"change_limits": with_result(_keeping)}),
    WINDOW(
        "an unsent call restores a slot of other limits", {"give_back": with_argument(1, _of_these_limits)}
    ),
    WINDOW(
        "a block is overlooked",
        {"window.take": with_argument(0, lambda window, *_, **__: replace(window, blocked_until_ms=0))},
    ),
    WINDOW(
        "the reserve is ignored by the window", {"window.take": with_argument("reserve", lambda *_, **__: 0)}
    ),
    SCHEDULING(
        "the reserve is ignored by retries",
        {"choose": with_result(lambda turn, *_, **__: turn and replace(turn, reserve=0))},
    ),
    SCHEDULING(
        "retry before fresh",
        {"choose": with_argument(0, lambda fresh, retries, *_, **__: () if retries else fresh)},
    ),
    SCHEDULING(
        "an old retry takes every call",
        {"choose": with_argument(4, lambda *args: replace(args[4], old_retry_last=False))},
    ),
    SCHEDULING(
        "whoever comes later pushes a long queue back",
        {"choose": with_argument("late_ms", lambda *_, **__: 10**15)},
    ),
    SCHEDULING(
        "a late job takes its caller's turn",
        {"Turn.after": with_result(lambda turn, _, call: replace(turn, served=call.due.client))},
    ),
    SCHEDULING(
        "retries have no turns",
        {"Turn.after": with_result(lambda turn, *_: replace(turn, retry_served=""))},
    ),
    SCHEDULING("jitter shortens", {"retry_at_ms": with_argument(3, lambda *args: -args[3])}),
    SCHEDULING(
        "a newcomer overtakes those who wait",
        {"may_try_inline": with_argument(0, lambda gate, *_, **__: replace(gate, waiting={}))},
    ),
    SCHEDULING(
        "every caller probes a slow upstream",
        {
            "may_try_inline": with_result(
                lambda inline, *_, **__: Inline.SLOW_PROBE if inline is Inline.TOO_SLOW else inline
            )
        },
    ),
    SEND("redirects are followed", {"_new_client": with_result(_following_redirects)}),
    SEND("a call that broke off is sent again", {"HttpUpstream._exchange": _once_more}),
    SEND(
        "a call that may have been counted is never sent",
        {
            "HttpUpstream.sign": with_awaited(
                lambda answer: _unanswered_as_unsent(None, None, answer),
            )
        },
    ),
    SEND("a call that was given up is not reset", {"socket_options": with_result(without_reset)}),
    SEND(
        "the kernel keeps a call for longer than the grace",
        {"socket_options": with_result(_kept_for_two_minutes)},
    ),
)
