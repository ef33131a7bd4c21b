"""Corrects the count of a caller's waiting jobs after a crash left it wrong."""

from collections import Counter
from collections.abc import Iterable

from calling.slots import Slots
from core.gate import Gate
from core.scheduling import Due
from core.waiting import entered_field_of, field_of
from core.window import Change, FieldValue
from ports import Clock

SURE_MS = 5_000
"""The due index is late. A count is corrected only if it differs for this long and no job was added."""


class Counts:
    """Compares counts with the due index. One object serves all runs: a run may be shorter than `SURE_MS`."""

    def __init__(self) -> None:
        self._differs_since_ms: dict[tuple[str, int, int], int] = {}

    @property
    def hold_up_newcomers(self) -> bool:
        """Whether a count shows waiting jobs of a caller, and the due index showed none."""
        return any(count > 0 and not due for _, count, due in self._differs_since_ms)

    async def correct(self, slots: Slots, clock: Clock, gate: Gate, rows: Iterable[Due], limit: int) -> None:
        """Write the counts that have differed for `SURE_MS`; remove callers without waiting jobs.

        `rows`: the fresh jobs that were read from the index, up to `limit` of each caller.
        """
        now_ms, listed = clock.now_ms(), list(rows)
        due = Counter(row.client for row in listed if row.due_ms <= now_ms)
        known = {row.client for row in listed}
        differ = {
            (client, count, due[client])
            for client, count in gate.waiting.items()
            if due[client] < limit and (count != due[client] or client not in known)
            if now_ms - gate.entered.get(client, 0) >= SURE_MS
        }
        self._differs_since_ms = {key: self._differs_since_ms.get(key, now_ms) for key in differ}
        for key, since_ms in [*self._differs_since_ms.items()]:
            if now_ms - since_ms >= SURE_MS:
                del self._differs_since_ms[key]
                await slots.try_once(_correction(gate, *key, gone=key[0] not in known))


def _correction(gate: Gate, client: str, count: int, due: int, *, gone: bool) -> Change:
    name = field_of(client)
    values: dict[str, FieldValue] = {name: "", entered_field_of(client): ""} if gone else {name: due}
    return Change(gate.window.limits.version, expected={name: count}, values=values)
