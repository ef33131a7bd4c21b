"""What every `DeadLetterQueue` of the operator's tool promises: in memory, and on SQS."""

from typing import Any

import pytest

from core.errors import Unavailable
from infra.ops.connect import SqsDeadLetters
from proofs.simulation.virtual_time import VirtualClock
from tests.fakes.memory import MemoryDeadLetters

DeadLetterQueue = MemoryDeadLetters | SqsDeadLetters  # SQS itself sends here


@pytest.fixture(params=["memory", "sqs"])
def dead_letters(request: pytest.FixtureRequest, sqs: Any, queue_url: str) -> DeadLetterQueue:
    if request.param == "memory":
        return MemoryDeadLetters(VirtualClock())
    return SqsDeadLetters(sqs, queue_url, held_s=60)


async def test_what_is_held_is_not_counted(dead_letters: DeadLetterQueue) -> None:
    """The count is of those that can be received."""
    assert await dead_letters.count() == 0
    await dead_letters.send(["a", "b", "c"])
    assert await dead_letters.count() == 3
    assert len(await dead_letters.receive(2, 0)) == 2
    assert await dead_letters.count() == 1


async def test_what_is_released_is_there_again_at_once(dead_letters: DeadLetterQueue) -> None:
    """Only the receipts that are named; more than a batch of them, or none."""
    await dead_letters.send([f"letter {number}" for number in range(12)])
    held = [message for _ in range(2) for message in await dead_letters.receive(10, 0)]
    assert await dead_letters.receive(10, 0) == []
    await dead_letters.release([])
    await dead_letters.release([message.receipt for message in held[1:]])
    assert await dead_letters.count() == 11


async def test_what_is_deleted_is_gone(dead_letters: DeadLetterQueue) -> None:
    """The others stay."""
    await dead_letters.send(["a", "b"])
    held = await dead_letters.receive(10, 0)
    await dead_letters.delete([held[0].receipt])
    await dead_letters.release([held[1].receipt])
    assert [message.text for message in await dead_letters.receive(10, 0)] == [held[1].text]


async def test_a_queue_that_is_gone_is_unavailable(sqs: Any) -> None:
    """Every failure of the queue is the one error that callers handle."""
    gone = SqsDeadLetters(sqs, "https://sqs.eu-west-1.amazonaws.com/123456789012/none", held_s=60)
    with pytest.raises(Unavailable):
        await gone.count()
    with pytest.raises(Unavailable):
        await gone.release(["receipt"])
