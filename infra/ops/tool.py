"""What all commands share: the options before them, the filters, and how results are shown."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import typer

from infra.ops import show
from infra.ops.connect import connect
from infra.ops.finding import Filter
from infra.ops.ports import NothingFound, Ports

LISTED_MAX = 100

Result = TypeVar("Result")

Ids = Annotated[list[str] | None, typer.Argument(help="Request ids.", show_default=False)]
Client = Annotated[str, typer.Option(help="Only this caller's.", show_default=False)]
Since = Annotated[str, typer.Option(help="Accepted then or later: 30m, 2h, 3d (ago) or ISO 8601.")]
Until = Annotated[str, typer.Option(help="Accepted before then.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what the command would do.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Limit = Annotated[int, typer.Option(min=1, help="Show at most so many.")]

Context = typer.Context


@dataclass(frozen=True, slots=True)
class Session:
    """The options before the command."""

    stack: str
    endpoint: str | None
    region: str | None
    as_json: bool

    def run(self, action: Callable[[Ports], Coroutine[Any, Any, Result]]) -> Result:
        """Connect and carry out an action; raises `RelayError`."""
        return asyncio.run(action(connect(self.stack, self.endpoint, self.region)))

    def say(self, **what: object) -> None:
        """Show what was done."""
        show.document(what, as_json=self.as_json)


def some(found: Sequence[Result]) -> Sequence[Result]:
    """Return what was found; raises `NothingFound` if that is nothing."""
    if not found:
        raise NothingFound("nothing found")
    return found


def wanted_by(ids: Sequence[str] | None, client: str, since: str, until: str) -> Filter:
    """Return the filter that the options describe."""
    request_ids = frozenset(request_id.strip().lower() for request_id in ids or ())
    return Filter(request_ids, client, _moment_ms(since, "--since"), _moment_ms(until, "--until"))


def _moment_ms(text: str, option: str) -> int | None:
    try:
        return show.moment_ms(text) if text else None
    except ValueError:
        raise typer.BadParameter("30m, 2h, 3d (ago) or an ISO 8601 time", param_hint=option) from None


def show_rows(session: Session, rows: Sequence[show.Row], limit: int) -> None:
    """Show rows up to a limit, with their total above the table."""
    title = f"{len(rows)} found" + (f", the first {limit}" if len(rows) > limit else "")
    show.rows(rows[:limit], title, as_json=session.as_json)


def confirm(session: Session, rows: Sequence[show.Row], question: str, *, dry_run: bool, yes: bool) -> None:
    """Show the plan, then stop (a dry run) or ask (unless `yes`)."""
    if dry_run:
        show_rows(session, rows, LISTED_MAX)
        raise typer.Exit
    if not yes:
        show_rows(session, rows, LISTED_MAX)
        typer.confirm(question, abort=True, err=True)
