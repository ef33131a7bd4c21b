"""The small world: two hosts whose clocks differ, two slots, a window of two ticks, every fault.

A state holds everything relative to now, so that states recur and the search ends though time goes on for
ever. One tick is one second for the window's functions, which are the real ones: `take`, `settle`,
`give_back`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import NamedTuple

from core import window as windows
from core.window import Change, Grant, Kind, Limits, Permit, Slot, Timing, Window

TICK_MS = 1_000
NOW = 1_000  # every state's present, in ticks
LIMITS = Limits(calls=2, window_ms=2 * TICK_MS)
WINDOW = LIMITS.window_ms // TICK_MS
SKEW = (0, 1)  # by how many ticks each host's clock is ahead of true time
SEND_LIMIT, CALL_LIMIT, GRACE, MARGIN = 1, 1, 1, 1
ANSWERED_BY = SEND_LIMIT + CALL_LIMIT
ARRIVED_BY = ANSWERED_BY + GRACE
RETRANSMITTED_BY = ARRIVED_BY + 3  # where no reset takes the call back, the link returns as late as this
CALLS_MAX = 3
# Beyond these ages a difference makes no difference any more.
TAKEN_AGE_MAX = SEND_LIMIT + 1
SENT_AGE_MAX = RETRANSMITTED_BY + 1
ANSWER_AGE_MAX = WINDOW + MARGIN + max(SKEW) + 1


class Guard(StrEnum):
    """What makes the window exact; the search is told which one to leave out."""

    LEASE = "the lease covers the worst case"
    HOLDER = "only the holder settles"
    SEND_DEADLINE = "no call is sent after its deadline"
    UNKNOWN_HOLDS = "an unknown outcome holds the lease"
    MARGIN = "the margin covers the clocks' difference"
    ONE_SEND = "one send per permit"
    RESET = "a call that was given up is reset"


class Phase(StrEnum):
    """How far a call has come."""

    TAKEN = "taken"
    SENT = "sent"
    ANSWERED = "answered"


class Held(NamedTuple):
    """A slot: when it is free, in ticks from now, and which call holds it (0: none that lives)."""

    free_in: int
    holder: int


class Call(NamedTuple):
    """A permit in some host's hands.

    `age`: ticks since the take, and once answered since the answer's first byte.
    `previous`: the slot before it was taken, until the call is sent.
    """

    host: int
    slot: int
    phase: Phase
    age: int
    previous: Held
    sent_twice: bool


class State(NamedTuple):
    """Everything that matters from now on. Calls are named by their position, from 1."""

    slots: tuple[Held, ...]
    calls: tuple[Call, ...]
    arrivals: tuple[int, ...]  # ages of those inside the window


class Step(NamedTuple):
    """What happened, and what came of it."""

    what: str
    state: State


@dataclass(frozen=True, slots=True)
class ShortLease(Timing):
    """A lease that reckons with an answer at once."""

    def lease_ms(self, call_limit_ms: int, window_ms: int) -> int:
        """Return W and the margin alone."""
        del call_limit_ms
        return window_ms + self.margin_ms


NOBODY = Held(-1, 0)
START = State((NOBODY, NOBODY), (), ())
OLDEST = {Phase.TAKEN: TAKEN_AGE_MAX, Phase.SENT: SENT_AGE_MAX, Phase.ANSWERED: ANSWER_AGE_MAX}


def timing(without: Guard | None) -> Timing:
    """Return the timing, less what the missing guard provides."""
    make = ShortLease if without is Guard.LEASE else Timing
    margin = 0 if without is Guard.MARGIN else MARGIN
    return make(grace_ms=GRACE * TICK_MS, margin_ms=margin * TICK_MS, send_limit_ms=SEND_LIMIT * TICK_MS)


def steps(state: State, without: Guard | None) -> Iterator[Step]:
    """Everything that can happen next."""
    yield Step("a tick passes", _tidy(_tick(state), without))
    for host in range(len(SKEW)):
        if len(state.calls) < CALLS_MAX and (taken := _take(state, host, without)):
            yield Step(f"host {host} takes slot {taken.calls[-1].slot}", _tidy(taken, without))
    for number, call in enumerate(state.calls, start=1):
        for what, after in _call_steps(state, number, call, without):
            yield Step(f"host {call.host}, slot {call.slot}: {what}", _tidy(after, without))


def violated(state: State) -> bool:
    """Whether more calls arrived within one window than the limit allows."""
    return len(state.arrivals) > LIMITS.calls


def _arrives_by(without: Guard | None) -> int:
    """Return the age at which a call that was sent can arrive last."""
    return RETRANSMITTED_BY if without is Guard.RESET else ARRIVED_BY


def _call_steps(state: State, number: int, call: Call, without: Guard | None) -> Iterator[tuple[str, State]]:
    if call.phase is Phase.TAKEN:
        if call.age <= SEND_LIMIT or without is Guard.SEND_DEADLINE:
            yield "sends", _with(state, number, call._replace(phase=Phase.SENT, previous=NOBODY))
        yield "never sends, and gives the slot back", _give_back(state, number)
    elif call.phase is Phase.SENT:
        if call.age <= _arrives_by(without) or without is Guard.SEND_DEADLINE:
            yield "arrives, and nothing is heard of it", _arrive(state, number, None)
        if call.age <= ANSWERED_BY:
            answered = call._replace(phase=Phase.ANSWERED, age=0)
            yield "arrives, and is answered", _arrive(state, number, answered)
        if without is Guard.ONE_SEND and not call.sent_twice and call.age <= ANSWERED_BY:
            again = call._replace(sent_twice=True)
            yield "arrives, and the transport sends it again", _arrive(state, number, again)
        if without is Guard.UNKNOWN_HOLDS and call.age >= CALL_LIMIT:
            settled = _settle(state, number, first_byte_age=0, without=without)
            yield "times out, and is settled all the same", _with(settled, number, call)
    else:
        settled = _settle(state, number, first_byte_age=call.age, without=without)
        yield "settles", _without(settled, number)


def _tick(state: State) -> State:
    slots = tuple(Held(slot.free_in - 1, slot.holder) for slot in state.slots)
    calls = tuple(
        call._replace(
            age=min(call.age + 1, OLDEST[call.phase]),
            previous=Held(call.previous.free_in - 1, call.previous.holder),
        )
        for call in state.calls
    )
    return State(slots, calls, tuple(age + 1 for age in state.arrivals if age + 1 < WINDOW))


def _arrive(state: State, number: int, after: Call | None) -> State:
    arrived = state._replace(arrivals=tuple(sorted((*state.arrivals, 0))))
    return _with(arrived, number, after) if after else _without(arrived, number)


def _take(state: State, host: int, without: Guard | None) -> State | None:
    number = len(state.calls) + 1
    taken = _real_take(state.slots, NOW + SKEW[host], number, timing(without))
    if taken is None:
        return None
    index, slot = taken
    call = Call(host, index, Phase.TAKEN, 0, state.slots[index], sent_twice=False)
    return state._replace(slots=_put(state.slots, index, slot), calls=(*state.calls, call))


def _settle(state: State, number: int, *, first_byte_age: int, without: Guard | None) -> State:
    call = state.calls[number - 1]
    slots = state.slots
    if without is Guard.HOLDER:  # whoever holds the slot now, it is settled as if it were this call
        slots = _put(slots, call.slot, Held(slots[call.slot].free_in, number))
    first_byte = NOW + SKEW[call.host] - first_byte_age
    settled = _real_settle(slots, call.slot, number, first_byte, timing(without))
    if settled is None:
        return state
    holder = state.slots[call.slot].holder
    return state._replace(slots=_put(state.slots, call.slot, Held(settled.free_in, holder)))


def _give_back(state: State, number: int) -> State:
    call = state.calls[number - 1]
    back = _real_give_back(state.slots, call.slot, number, call.previous)
    after = state._replace(slots=_put(state.slots, call.slot, back)) if back else state
    return _without(after, number)


@cache
def _real_take(slots: tuple[Held, ...], clock: int, number: int, timing: Timing) -> tuple[int, Held] | None:
    decision = windows.take(
        _window(slots),
        clock * TICK_MS,
        permit_id=str(number),
        kind=Kind.FRESH,
        timing=timing,
        call_limit_ms=CALL_LIMIT * TICK_MS,
    )
    if not isinstance(decision, Grant):
        return None
    return decision.permit.slot, _changed(decision.change, decision.permit.slot)


@cache
def _real_settle(
    slots: tuple[Held, ...], index: int, number: int, first_byte: int, timing: Timing
) -> Held | None:
    change = windows.settle(_window(slots), _permit(index, number), first_byte * TICK_MS, timing)
    return _changed(change, index) if change else None


@cache
def _real_give_back(slots: tuple[Held, ...], index: int, number: int, previous: Held) -> Held | None:
    permit = replace(_permit(index, number), previous=_slot(previous))
    change = windows.give_back(_window(slots), permit)
    return _changed(change, index) if change else None


def _window(slots: tuple[Held, ...]) -> Window:
    return Window(LIMITS, tuple(_slot(slot) for slot in slots))


def _slot(slot: Held) -> Slot:
    return Slot((NOW + slot.free_in) * TICK_MS, str(slot.holder or ""))


def _permit(index: int, number: int) -> Permit:
    return Permit(str(number), index, Slot(), 0, 0, LIMITS)


def _changed(change: Change, index: int) -> Held:
    slot = change.slots[index]
    return Held(slot.free_at_ms // TICK_MS - NOW, int(slot.holder or 0))


def _put(slots: tuple[Held, ...], index: int, slot: Held) -> tuple[Held, ...]:
    return (*slots[:index], slot, *slots[index + 1 :])


def _with(state: State, number: int, call: Call) -> State:
    return state._replace(calls=(*state.calls[: number - 1], call, *state.calls[number:]))


def _without(state: State, number: int) -> State:
    """Forget a call; those after it move up by one name."""
    calls = state.calls[: number - 1] + state.calls[number:]
    names = {name: name - (name > number) for name in range(CALLS_MAX + 2)} | {number: 0}
    return _renamed(state._replace(calls=calls), names)


def _renamed(state: State, names: dict[int, int]) -> State:
    def rename(slot: Held) -> Held:
        return Held(slot.free_in, names[slot.holder])

    calls = tuple(call._replace(previous=rename(call.previous)) for call in state.calls)
    return state._replace(slots=tuple(rename(slot) for slot in state.slots), calls=calls)


def _tidy(state: State, without: Guard | None) -> State:
    """Drop the calls that can do nothing any more, and give equal states one form."""
    for number in range(len(state.calls), 0, -1):
        if _powerless(state, number, without):
            state = _without(state, number)
    calls = tuple(call._replace(previous=_floored(call.previous)) for call in state.calls)
    state = state._replace(slots=tuple(_floored(slot) for slot in state.slots), calls=calls)
    return min(_sorted(state), _sorted(_mirrored(state)))


def _powerless(state: State, number: int, without: Guard | None) -> bool:
    call = state.calls[number - 1]
    held = state.slots[call.slot].holder == number or any(
        other.previous.holder == number for other in state.calls
    )
    if call.phase is Phase.SENT:
        return call.age > _arrives_by(without) and without is not Guard.SEND_DEADLINE
    if call.phase is Phase.TAKEN:
        return call.age > SEND_LIMIT and not held and without is not Guard.SEND_DEADLINE
    return not held and without is not Guard.HOLDER


def _sorted(state: State) -> State:
    order = sorted(range(len(state.calls)), key=lambda index: state.calls[index])
    names = {0: 0} | {index + 1: position + 1 for position, index in enumerate(order)}
    return _renamed(state._replace(calls=tuple(state.calls[index] for index in order)), names)


def _mirrored(state: State) -> State:
    """The same with the two slots exchanged."""
    calls = tuple(call._replace(slot=1 - call.slot) for call in state.calls)
    return state._replace(slots=state.slots[::-1], calls=calls)


def _floored(slot: Held) -> Held:
    """By every host's clock it has been free for a while: since when exactly makes no difference."""
    return Held(max(slot.free_in, -1), slot.holder)
