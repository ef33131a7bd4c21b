"""Puts dead letters back on their queues, for whoever mended the fault that killed them."""

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from core.errors import InvalidMessage
from core.messages import FreshMessage, NotificationMessage
from ports import DeadLetters, Queue

BATCH = 10
RECEIVE_WAIT_MS = 1_000
"""SQS asks all of its servers only if it may wait: without that, nothing received proves nothing."""


@dataclass(frozen=True, slots=True)
class Line:
    """One queue, where its poison goes, and how its messages are read (raises `InvalidMessage`)."""

    name: str
    queue: Queue
    dead_letters: DeadLetters
    decode: Callable[[str], FreshMessage | NotificationMessage]


@dataclass(frozen=True, slots=True)
class Redriven:
    """How many letters went back and how many stayed; `more`: the queue was not seen empty."""

    line: str
    moved: int
    kept: int
    more: bool


Judge = Callable[[Line, str], Awaitable[bool]]


async def readable(line: Line, text: str) -> bool:
    """Whether some version of this service can have written it: a `Judge`."""
    try:
        line.decode(text)
    except InvalidMessage:
        return False
    return True


async def redrive(
    line: Line,
    goes: Judge,
    *,
    messages_max: int = sys.maxsize,
    left_ms: Callable[[], int] = lambda: RECEIVE_WAIT_MS,
) -> Redriven:
    """Put back the letters that go; the others stay. Raises `Unavailable`: some may have gone by then.

    Sent first, then deleted: a crash in between repeats a message, which does no harm. It ends when the queue
    is empty, after `messages_max` letters, or when no time is left to wait for one.
    """
    moved, kept, more = 0, list[str](), True
    while limit := min(BATCH, messages_max - moved - len(kept)):
        if (wait_ms := min(left_ms(), RECEIVE_WAIT_MS)) <= 0:
            break
        batch = await line.dead_letters.receive(limit, wait_ms)
        if not batch:
            more = wait_ms < RECEIVE_WAIT_MS
            break
        going = [received for received in batch if await goes(line, received.text)]
        kept += [received.receipt for received in batch if received not in going]
        await line.queue.send([received.text for received in going])
        await line.dead_letters.delete([received.receipt for received in going])
        moved += len(going)
    await line.dead_letters.release(kept)
    return Redriven(line.name, moved, len(kept), more)
