"""Records that can't be dealt with are left alone for a while, each for twice as long as the last time.

A damaged record for up to ten minutes. One that can't be reached, as all can't while a table is throttled,
for some seconds only: it is called soon after that is over.
"""

from collections import OrderedDict

DAMAGED_MS_MAX = 600_000
UNREACHED_MS_MAX = 15_000
KEPT_MAX = 10_000


class Backoff:
    """What one instance remembers of such records, by id. A new instance tries each of them once."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def hold(self, record_id: str, now_ms: int, wait_ms: int, wait_ms_max: int = DAMAGED_MS_MAX) -> None:
        """Leave a record alone for `wait_ms`, or for twice as long as the last time if that is longer."""
        _, last_ms = self._held.pop(record_id, (0, 0))
        wait_ms = min(max(wait_ms, 2 * last_ms), wait_ms_max)
        self._held[record_id] = now_ms + wait_ms, wait_ms
        if len(self._held) > KEPT_MAX:
            self._held.popitem(last=False)

    def until_ms(self, record_id: str) -> int:
        """Until when the record is to be left alone; 0 if it was never held."""
        return self._held.get(record_id, (0, 0))[0]

    def holds(self, record_id: str, now_ms: int) -> bool:
        """Whether the record is to be left alone now."""
        return now_ms < self.until_ms(record_id)

    def forget(self, record_id: str) -> None:
        """Note that a record was dealt with."""
        self._held.pop(record_id, None)
