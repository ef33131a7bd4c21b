"""A run skips a record that it can't process, each time for twice as long as before.

A damaged record is skipped for up to ten minutes. A record that can't be reached, for example while the table
is throttled, is skipped for up to 15 seconds, so that it is called soon after the cause is gone.
"""

from collections import OrderedDict

DAMAGED_MS_MAX = 600_000
UNREACHED_MS_MAX = 15_000
KEPT_MAX = 10_000


class Backoff:
    """The records that one instance skips, by id. A new instance tries each of them once."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def hold(self, record_id: str, now_ms: int, wait_ms: int, wait_ms_max: int = DAMAGED_MS_MAX) -> None:
        """Skip a record for `wait_ms`, or for twice as long as the last time, if that is longer."""
        _, last_ms = self._held.pop(record_id, (0, 0))
        wait_ms = min(max(wait_ms, 2 * last_ms), wait_ms_max)
        self._held[record_id] = now_ms + wait_ms, wait_ms
        if len(self._held) > KEPT_MAX:
            self._held.popitem(last=False)

    def until_ms(self, record_id: str) -> int:
        """Until when the record is skipped, in milliseconds since the epoch; 0 if it never was."""
        return self._held.get(record_id, (0, 0))[0]

    def holds(self, record_id: str, now_ms: int) -> bool:
        """Whether the record is skipped now."""
        return now_ms < self.until_ms(record_id)

    def forget(self, record_id: str) -> None:
        """End the backoff of a record that was processed."""
        self._held.pop(record_id, None)
