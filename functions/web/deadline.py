"""The two seconds: one deadline per request, counted from the moment it reached the gateway."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from core.errors import Unavailable
from ports import Clock

BUDGET_MS = 2_000
WAY_BACK_MS = 150
DURABLE_MS = 400
GATEWAY_LIMIT_MS = 29_000


@dataclass(frozen=True, slots=True)
class Deadline:
    """When the answer must leave this function, on the monotonic clock."""

    clock: Clock
    at_mono_ms: int

    @classmethod
    def of(cls, clock: Clock, reached_gateway_ms: int | None, *, by_own_front: bool = False) -> "Deadline":
        """Count from the gateway's own time, or from now if that is missing or not plausible.

        `sam local start-api` always sends its own start time, and clocks may differ. So a time in the future,
        or older than the gateway's own limit, is ignored. `by_own_front`: the time is from the service's own
        front. Then it is used even if it is old: the front has answered its caller already, and no call may
        be made any more.
        """
        elapsed_ms = 0 if reached_gateway_ms is None else clock.now_ms() - reached_gateway_ms
        if elapsed_ms < 0 or (elapsed_ms > GATEWAY_LIMIT_MS and not by_own_front):
            elapsed_ms = 0
        return cls(clock, clock.monotonic_ms() + BUDGET_MS - WAY_BACK_MS - elapsed_ms)

    def used_ms(self) -> int:
        """How much of the two seconds is used, including the time from the gateway to here."""
        return BUDGET_MS - WAY_BACK_MS - self.at_mono_ms + self.clock.monotonic_ms()

    def within(self, limit_ms: int) -> "Deadline":
        """Return this deadline, or an earlier one: `limit_ms` after the request reached the gateway."""
        return Deadline(self.clock, min(self.at_mono_ms, self.at_mono_ms - BUDGET_MS + limit_ms))

    def left_ms(self, *, reserve_ms: int = 0) -> int:
        """How much is left beyond the reserve; never negative."""
        return max(0, self.at_mono_ms - reserve_ms - self.clock.monotonic_ms())

    def left_s(self, *, reserve_ms: int = 0) -> float:
        """Return the same in seconds, for `asyncio.timeout`."""
        return self.left_ms(reserve_ms=reserve_ms) / 1000

    @asynccontextmanager
    async def limit(self) -> AsyncIterator[None]:
        """Stop what is inside at the deadline: it raises `Unavailable` then."""
        try:
            async with asyncio.timeout(self.left_s()):
                yield
        except TimeoutError:
            raise Unavailable("timeout") from None


def reached_gateway_ms(
    event: Mapping[str, Any], headers: Mapping[str, str], *, trust_request_start: bool, sam_local: bool
) -> int | None:
    """When the request reached the gateway, in milliseconds since the epoch; None if not known.

    `trust_request_start`: use the header `X-Request-Start: t=<ms>`, which the service's own front sets.
    """
    if trust_request_start and (started := headers.get("x-request-start", "")).startswith("t="):
        digits = started.removeprefix("t=")
        return int(digits) if re.fullmatch("[0-9]{1,15}", digits) else None
    if sam_local:
        return None
    context = event.get("requestContext") or {}
    epoch_ms = context.get("requestTimeEpoch") or context.get("timeEpoch")
    return epoch_ms if isinstance(epoch_ms, int) else None
