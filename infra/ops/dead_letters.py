"""Lists and deletes dead letters. No work is lost with one: the due index has each request that it names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import typer

from core.errors import InvalidMessage
from core.messages import NotificationMessage, WakeUp, decode_notification, decode_wake_up
from core.request import Request
from infra.ops import show, tool
from infra.ops.finding import Filter
from infra.ops.ports import DeadLetterQueue, Ports
from infra.ops.tool import LISTED_MAX, Client, Context, DryRun, Ids, Limit, Session, Since, Until, Yes
from ports import JobStore

app = typer.Typer(no_args_is_help=True, help="Messages that could not be handled.")
BATCH = 10
TEXT_MAX = 1_000
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


@app.command("list")
def list_command(
    context: Context,
    client: Client = "",
    since: Since = "",
    until: Until = "",
    limit: Limit = LISTED_MAX,
) -> None:
    """List dead letters, with the requests that each names. They stay in the queue."""
    session: Session = context.obj
    tool.show_rows(session, _letters(session, tool.wanted_by((), client, since, until)), limit)


@app.command("delete")
def delete_command(
    context: Context,
    request_ids: Ids = None,
    client: Client = "",
    since: Since = "",
    until: Until = "",
    *,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Delete dead letters, once you know their reason.

    No work is lost: the due index has every unfinished job and delivery.
    """
    session: Session = context.obj
    wanted = tool.wanted_by(request_ids, client, since, until)
    tool.confirm(session, _letters(session, wanted), "Delete these dead letters?", dry_run=dry_run, yes=yes)
    session.say(deleted=session.run(partial(delete, wanted=wanted)))


def _letters(session: Session, wanted: Filter) -> list[show.Row]:
    letters = tool.some(session.run(partial(list_all, wanted=wanted)))
    return [letter_row(letter) for letter in letters]


def letter_row(letter: Letter) -> show.Row:
    """Return one line about a dead letter."""
    return {
        "queue": letter.queue,
        "readable": letter.readable,
        "requests": " ".join(request.id for request in letter.requests),
        "text": letter.text[:TEXT_MAX],
    }
