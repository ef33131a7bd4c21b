"""Putting dead letters back, as far as there is time."""

import pytest

from calling.redrive import Line, Redriven, readable, redrive
from core.messages import FreshMessage, decode_fresh
from proofs.simulation.virtual_time import VirtualClock, run
from tests.fakes.memory import MemoryDeadLetters, MemoryQueue

LETTER = FreshMessage("0" * 64).encode()


def redriven(letters: int, left_ms: int) -> Redriven:
    """Redrive so many letters with so much time left at each look."""

    async def main() -> Redriven:
        clock = VirtualClock()
        dead_letters = MemoryDeadLetters(clock)
        await dead_letters.send([LETTER] * letters)
        line = Line("fresh", MemoryQueue(clock), dead_letters, decode_fresh)
        return await redrive(line, readable, left_ms=lambda: left_ms)

    return run(main())


@pytest.mark.parametrize(
    ("left_ms", "moved", "more"),
    [(1_500, 3, False), (1_000, 3, False), (999, 3, True), (0, 0, True), (-1, 0, True)],
)
def test_a_queue_is_empty_only_after_a_whole_wait(left_ms: int, moved: int, *, more: bool) -> None:
    """SQS may show nothing to whoever does not wait; and without time left nothing is taken into hand."""
    assert redriven(3, left_ms) == Redriven("fresh", moved, 0, more)
