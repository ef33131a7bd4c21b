"""Everything that decides whether an upstream call may be made now: one shared item, one read.

The window alone keeps the upstream's limit. The key guard and the operator's pause may hold calls back
besides, and hints travel with them. All are read and written as one item.
"""

from dataclasses import dataclass, field, fields, replace

from core.hints import Hints
from core.key_guard import KeyGuard
from core.window import Change, Denial, FieldValue, Grant, Kind, NotBefore, Timing, Window
from core.window import take as take_slot


@dataclass(frozen=True, slots=True)
class Gate:
    """The shared item. `paused`: the operator has stopped all calls."""

    window: Window
    key: KeyGuard = field(default_factory=KeyGuard)
    paused: bool = False
    hints: Hints = field(default_factory=Hints)

    def closed(self, now_ms: int) -> bool:
        """Whether no ordinary call may be made now, free slots or not."""
        return self.paused or self.window.blocked_until_ms > now_ms or self.key.suspected

    def value(self, name: str) -> FieldValue:
        """Return a scalar field by its stored name."""
        value: FieldValue = getattr(self._owner(name), name)
        return value

    def having(self, latencies_ms: tuple[int, ...] | None = None, **values: FieldValue) -> "Gate":
        """Return the gate with some of its fields, by their stored names, replaced."""
        gate = self
        if latencies_ms is not None:
            gate = replace(gate, hints=replace(gate.hints, latencies_ms=latencies_ms))
        for name, value in values.items():
            gate = gate._with(name, value)  # noqa: SLF001 - of its own class
        return gate

    def _owner(self, name: str) -> "Window | KeyGuard | Hints | Gate":
        part = PART_OF[name]
        return getattr(self, part) if part else self

    def _with(self, name: str, value: FieldValue) -> "Gate":
        part = PART_OF[name]
        if not part:
            return replace(self, paused=bool(value))
        return replace(self, **{part: replace(getattr(self, part), **{name: value})})


def _scalars(cls: type[Window | KeyGuard | Hints]) -> dict[str, FieldValue]:
    return {each.name: each.default for each in fields(cls) if isinstance(each.default, str | int)}


PARTS = {"window": _scalars(Window), "key": _scalars(KeyGuard), "hints": _scalars(Hints)}
"""The scalar fields of each part, with their defaults; the stored names are the fields' own."""
DEFAULTS: dict[str, FieldValue] = {"paused": False} | {
    name: default for part in PARTS.values() for name, default in part.items()
}
PART_OF = {"paused": ""} | {name: part for part, names in PARTS.items() for name in names}


def take(
    gate: Gate,
    now_ms: int,
    *,
    permit_id: str,
    kind: Kind,
    timing: Timing,
    call_limit_ms: int,
    reserve: int = 0,
    spread: float = 0.0,
) -> Grant | NotBefore:
    """Take a slot of the window, if neither the operator nor a refused key holds calls back."""
    if gate.paused:
        return NotBefore(0, Denial.PAUSED)
    if gate.key.suspected and kind is not Kind.PROBE and gate.window.blocked_until_ms <= now_ms:
        return NotBefore(max(now_ms, gate.key.probe_at_ms), Denial.BLOCKED)
    return take_slot(
        gate.window,
        now_ms,
        permit_id=permit_id,
        kind=kind,
        timing=timing,
        call_limit_ms=call_limit_ms,
        reserve=reserve,
        spread=spread,
    )


def pause(gate: Gate, *, paused: bool) -> Change | None:
    """Stop all calls, or let them go on; None if nothing changes."""
    return None if gate.paused is paused else Change(gate.window.limits.version, values={"paused": paused})
