"""Everything that decides whether an upstream call may be made now: one shared item, one read.

The window alone keeps the upstream's limit. The key guard and the operator's pause may also stop calls. Hints
and counts are stored in the same item. All are read and written together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from core.hints import Hints
from core.key_guard import KeyGuard
from core.tally import Tally
from core.waiting import COUNT, ENTERED, OPEN_REQUESTS, PREFIXES
from core.window import (
    END_UNKNOWN_MS,
    Change,
    Denial,
    FieldValue,
    Grant,
    Kind,
    NotBefore,
    Timing,
    Window,
)
from core.window import take as take_slot


@dataclass(frozen=True, slots=True)
class Pause:
    """Whether an operator has stopped all calls, which operator did, and when."""

    paused: bool = False
    paused_by: str = ""
    paused_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Gate:
    """The shared item.

    `waiting`: how many jobs wait for their first call, by caller.
    `entered`: when the newest waiting job of each caller began to wait.
    `open_requests`: how many open requests each caller has.
    """

    window: Window
    key: KeyGuard = field(default_factory=KeyGuard)
    pause: Pause = field(default_factory=Pause)
    hints: Hints = field(default_factory=Hints)
    tally: Tally = field(default_factory=Tally)
    waiting: Mapping[str, int] = field(default_factory=dict, hash=False)
    entered: Mapping[str, int] = field(default_factory=dict, hash=False)
    open_requests: Mapping[str, int] = field(default_factory=dict, hash=False)

    @property
    def paused(self) -> bool:
        """Whether an operator has stopped all calls."""
        return self.pause.paused

    def closed(self, now_ms: int) -> bool:
        """Whether no call except a probe may be made now, even if slots are free."""
        return self.paused or self.window.blocked(now_ms) or self.key.suspected

    def open_at_ms(self, now_ms: int) -> int:
        """When neither a suspected key nor a block stops calls. Slots are not considered."""
        return max(now_ms, self.key.probe_at_ms if self.key.suspected else 0, self.window.open_at_ms)

    def value(self, name: str) -> FieldValue:
        """Return a scalar field by its stored name."""
        if name.startswith(PREFIXES):
            return self._of_callers(name).get(name.partition(":")[2], "")
        value: FieldValue = getattr(getattr(self, PART_OF[name]), name)
        return value

    def _of_callers(self, name: str) -> Mapping[str, int]:
        values: Mapping[str, int] = getattr(self, OF_CALLERS[_prefix(name)])
        return values

    def having(self, latencies_ms: tuple[int, ...] | None = None, **values: FieldValue) -> "Gate":
        """Return the gate with some fields replaced; they are named as they are stored."""
        gate = self
        if latencies_ms is not None:
            gate = replace(gate, hints=replace(gate.hints, latencies_ms=latencies_ms))
        for name, value in values.items():
            gate = gate._with(name, value)  # noqa: SLF001 - of its own class
        return gate

    def _with(self, name: str, value: FieldValue) -> "Gate":
        if name.startswith(PREFIXES):
            client = name.partition(":")[2]
            values = {other: number for other, number in self._of_callers(name).items() if other != client}
            if value != "":
                values[client] = int(value)
            part: Any = {OF_CALLERS[_prefix(name)]: values}
            return replace(self, **part)
        part = PART_OF[name]
        return replace(self, **{part: replace(getattr(self, part), **{name: value})})


def _prefix(name: str) -> str:
    return name[: name.index(":") + 1]


def _scalars(cls: type[Window | KeyGuard | Pause | Hints | Tally]) -> dict[str, FieldValue]:
    return {each.name: each.default for each in fields(cls) if isinstance(each.default, str | int)}


PARTS = {
    "window": _scalars(Window),
    "key": _scalars(KeyGuard),
    "pause": _scalars(Pause),
    "hints": _scalars(Hints),
    "tally": _scalars(Tally),
}
"""The scalar fields of each part, with their defaults; the stored names are the fields' own."""
OF_CALLERS = {COUNT: "waiting", ENTERED: "entered", OPEN_REQUESTS: "open_requests"}
"""The part of the gate that holds the fields with this prefix, each of one caller."""
DEFAULTS: dict[str, FieldValue] = {name: default for part in PARTS.values() for name, default in part.items()}
PART_OF = {name: part for part, names in PARTS.items() for name in names}


def take(
    gate: Gate,
    now_ms: int,
    *,
    permit_id: str,
    kind: Kind,
    timing: Timing,
    call_limit_ms: int,
    reserve: int = 0,
    aim: int = 0,
    spread: float = 0.0,
) -> Grant | NotBefore:
    """Take a slot of the window, if neither an operator's pause nor a suspected key stops calls.

    The write has the condition that there is no pause, because this instance may not have read a new one yet.
    """
    if gate.paused:
        return NotBefore(END_UNKNOWN_MS, Denial.PAUSED)
    if gate.key.suspected and kind is not Kind.PROBE:
        return NotBefore(gate.open_at_ms(now_ms), Denial.BLOCKED)
    taken = take_slot(
        gate.window,
        now_ms,
        permit_id=permit_id,
        kind=kind,
        timing=timing,
        call_limit_ms=call_limit_ms,
        reserve=reserve,
        aim=aim,
        spread=spread,
    )
    if isinstance(taken, NotBefore):
        return taken
    not_paused = Change(gate.window.limits.version, expected={"paused": False})
    return replace(taken, change=taken.change.also(not_paused))


def pause(gate: Gate, *, by: str, now_ms: int) -> Change | None:
    """Stop all calls; None if they are stopped already."""
    if gate.paused:
        return None
    values: dict[str, FieldValue] = {"paused": True, "paused_by": by, "paused_at_ms": now_ms}
    return Change(gate.window.limits.version, expected={"paused": False}, values=values)


def resume(gate: Gate, now_ms: int) -> Change | None:
    """End the pause; None if there is none. The time of the pause does not count as a request's age."""
    if not gate.paused:
        return None
    paused_ms = max(0, now_ms - gate.pause.paused_at_ms) if gate.pause.paused_at_ms else 0
    values: dict[str, FieldValue] = {
        "paused": False,
        "paused_by": "",
        "paused_at_ms": 0,
        "key_blocked_ms": gate.key.key_blocked_ms + paused_ms,
    }
    return Change(gate.window.limits.version, expected={"paused": True}, values=values)


def unblock(gate: Gate, now_ms: int) -> Change | None:
    """End the upstream's block and probe a suspected key at once; None if there is neither."""
    if not gate.window.blocked_until_ms and not gate.key.suspected:
        return None
    values: dict[str, FieldValue] = {"blocked_until_ms": 0, "block_probe_at_ms": 0}
    if gate.key.suspected:
        values["probe_at_ms"] = now_ms
    return Change(gate.window.limits.version, values=values)
