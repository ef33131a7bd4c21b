"""What every `ports.Queue` promises: in memory, in virtual time, and on SQS."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from adapters.sqs import SqsQueue
from core.errors import Unavailable
from ports import Queue
from proofs.simulation import virtual_time
from proofs.simulation.virtual_time import VirtualClock
from tests.fakes.memory import MemoryQueue

Check = Callable[[Queue], Awaitable[None]]


def _in_memory(check: Check) -> None:
    async def main() -> None:
        await check(MemoryQueue(VirtualClock()))

    virtual_time.run(main())


@pytest.fixture(params=["memory", "sqs"])
def queue(request: pytest.FixtureRequest, sqs: Any, queue_url: str) -> Queue:
    return MemoryQueue(VirtualClock()) if request.param == "memory" else SqsQueue(sqs, queue_url)


async def test_what_is_sent_is_received_once_until_it_is_visible_again(queue: Queue) -> None:
    """A message in somebody's hands is nobody else's."""
    await queue.send(["a", "b"])
    received = await queue.receive(10, 0)
    assert sorted(message.text for message in received) == ["a", "b"]
    assert await queue.receive(10, 0) == []


async def test_what_is_deleted_is_gone(queue: Queue) -> None:
    """Only the receipts that are named are deleted."""
    await queue.send(["a", "b"])
    received = await queue.receive(10, 0)
    await queue.delete([message.receipt for message in received if message.text == "a"])
    await queue.delete([])


async def test_more_than_a_batch_is_sent_and_deleted(queue: Queue) -> None:
    """SQS takes ten messages in a request; callers need not know."""
    texts = [f"message {number}" for number in range(23)]
    await queue.send(texts)
    seen: list[str] = []
    receipts: list[str] = []
    while received := await queue.receive(10, 0):
        assert len(received) <= 10
        seen += [message.text for message in received]
        receipts += [message.receipt for message in received]
    assert sorted(seen) == sorted(texts)
    await queue.delete(receipts)


async def test_no_more_is_received_than_asked_for(queue: Queue) -> None:
    """A run takes no message that it may not have the time for."""
    await queue.send(["a", "b", "c"])
    assert len(await queue.receive(2, 0)) == 2
    assert len(await queue.receive(2, 0)) == 1


async def test_a_delayed_message_is_not_there_yet(queue: Queue) -> None:
    """A webhook's next attempt waits in the queue."""
    await queue.send(["later"], delay_ms=60_000)
    assert await queue.receive(10, 0) == []


def test_a_wait_ends_with_the_first_message_or_with_its_time() -> None:
    """A long poll returns at once when there is something, else empty in time."""

    async def check(queue: Queue) -> None:
        clock = VirtualClock()
        assert await queue.receive(10, 3_000) == []
        assert clock.monotonic_ms() == 3_000
        await queue.send(["later"], delay_ms=1_500)
        assert [message.text for message in await queue.receive(10, 20_000)] == ["later"]
        assert clock.monotonic_ms() == 4_500

    _in_memory(check)


def test_a_message_that_is_not_deleted_comes_again_and_at_last_is_buried() -> None:
    """A crash costs a visibility timeout; poison ends in the dead-letter queue, as SQS's redrive does."""

    async def main() -> None:
        clock = VirtualClock()
        dead = MemoryQueue(clock)
        queue = MemoryQueue(clock, visibility_ms=30_000, receives_max=2, dead_letters=dead)
        await queue.send(["poison"])
        for _ in range(2):
            assert len(await queue.receive(10, 0)) == 1
            await clock.sleep_ms(30_000)
        assert await queue.receive(10, 0) == []
        assert dead.texts == ["poison"]
        assert queue.texts == []

    virtual_time.run(main())


async def test_a_queue_that_is_gone_is_unavailable(sqs: Any) -> None:
    """Every failure of the queue is the one error that callers handle."""
    queue = SqsQueue(sqs, "https://sqs.eu-west-1.amazonaws.com/123456789012/none")
    with pytest.raises(Unavailable):
        await queue.send(["a"])
    with pytest.raises(Unavailable):
        await queue.receive(1, 0)
    with pytest.raises(Unavailable):
        await queue.count()
