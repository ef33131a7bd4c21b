"""Lists and deletes dead letters. No work waits for one: the due index has what it names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from core.errors import InvalidMessage
from core.messages import NotificationMessage, WakeUp, decode_notification, decode_wake_up
from core.request import Request
from infra.ops.actions import DeadLetterQueue, Filter, Ports
from ports import JobStore

BATCH = 10
RECEIVE_WAIT_MS = 1_000
"""SQS asks all its servers only in a long poll. After a short poll an empty answer proves nothing."""

DECODERS: Mapping[str, Callable[[str], WakeUp | NotificationMessage]] = {
    "work": decode_wake_up,
    "notification": decode_notification,
}


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter. `readable`: a version of this service can have written it."""

    queue: str
    text: str
    readable: bool
    requests: tuple[Request, ...]


async def list_all(ports: Ports, wanted: Filter) -> list[Letter]:
    """Return the matching dead letters, and leave them in the queue."""
    found = []
    for name, queue in ports.dead_letters.items():
        letters = await _receive(ports.store, name, queue)
        await queue.release(list(letters))
        found += [letter for letter in letters.values() if _fits(letter, wanted)]
    return found


async def delete(ports: Ports, wanted: Filter) -> int:
    """Delete the matching dead letters; return how many. The others stay."""
    deleted = 0
    for name, queue in ports.dead_letters.items():
        letters = await _receive(ports.store, name, queue)
        fitting = [receipt for receipt, letter in letters.items() if _fits(letter, wanted)]
        await queue.delete(fitting)
        await queue.release([receipt for receipt in letters if receipt not in fitting])
        deleted += len(fitting)
    return deleted


async def _receive(store: JobStore, name: str, queue: DeadLetterQueue) -> dict[str, Letter]:
    """Return all letters of a queue by receipt. They are held until they are deleted or released."""
    letters: dict[str, Letter] = {}
    while batch := await queue.receive(BATCH, RECEIVE_WAIT_MS):
        for received in batch:
            letters[received.receipt] = await _letter(store, name, received.text)
    return letters


async def _letter(store: JobStore, name: str, text: str) -> Letter:
    try:
        message = DECODERS[name](text)
    except InvalidMessage:
        return Letter(name, text, readable=False, requests=())
    if isinstance(message, WakeUp):
        _, page = await store.load(message.job_id)
        return Letter(name, text, readable=True, requests=page.requests)
    request = await store.request_of(message.job_id, message.request_id)
    return Letter(name, text, readable=True, requests=(request,) if request else ())


def _fits(letter: Letter, wanted: Filter) -> bool:
    return wanted.empty or any(wanted.fits(request) for request in letter.requests)
