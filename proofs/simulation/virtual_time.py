"""An event loop in which waiting takes no time: whatever asyncio schedules, runs in order, at once.

`asyncio.sleep`, `asyncio.timeout` and every task see a clock that jumps to the next moment at which anything
is to happen. Hours take seconds, and a run depends on nothing but its inputs.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

EPOCH_MS = 1_800_000_000_000
Result = TypeVar("Result")


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting for the time-out, moves the clock on by it."""

    def __init__(self) -> None:
        super().__init__()
        self.elapsed_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("every task waits for something that will never happen")
        self.elapsed_s += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on a virtual clock that starts at 0."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return self._jumping.elapsed_s


class VirtualClock:
    """A `ports.Clock` on the running loop's time; `skew_ms` shifts the wall clock of one host."""

    def __init__(self, skew_ms: int = 0) -> None:
        self.skew_ms = skew_ms

    def now_ms(self) -> int:
        """Return virtual milliseconds since the epoch, by this host's clock."""
        return EPOCH_MS + self.monotonic_ms() + self.skew_ms

    def monotonic_ms(self) -> int:
        """Return virtual milliseconds."""
        return round(asyncio.get_running_loop().time() * 1000)

    async def sleep_ms(self, duration_ms: int) -> None:
        """Let virtual time pass."""
        await asyncio.sleep(duration_ms / 1000)


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
