"""Requests: find them, send their webhooks again, hurry or end them."""

import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Annotated, Any

import typer

from calling import redelivery
from calling.conditional import amend, amend_request
from calling.parking import park_unless_wanted
from calling.redelivery import NotReplayable
from core import job as jobs
from core.messages import NotificationMessage
from core.request import Request, close_failed
from core.words import explain
from infra.ops import finding, show, tool
from infra.ops.finding import ENDED_UNHEARD, Filter, Standing, State
from infra.ops.ports import Ports
from infra.ops.tool import LISTED_MAX, Client, Context, DryRun, Ids, Limit, Session, Since, Until, Yes
from ports import JobStore, Queue, Written

PURGED = "purged_by_operator"
PURGED_STATUS = 503
REPLAYED, DUE_NOW, NOT_HURRIED = "sent again", "due now", "due already, or being called"
GOOD = frozenset({REPLAYED, DUE_NOW, NOT_HURRIED})
EXIT_FAILED = 1

app = typer.Typer()


async def purge(ports: Ports, requests: Iterable[Request], *, notify: bool) -> int:
    """Fail open requests and notify their callers; return how many. Their jobs get no further call."""
    requests = list(requests)
    calls = {request.id: request.calls_of(await ports.store.job(request.job_id)) for request in requests}

    def given_up(request: Request) -> Request | None:
        if not request.open:
            return None
        now_ms = ports.clock.now_ms()
        return close_failed(request, PURGED_STATUS, PURGED, now_ms, calls=calls[request.id], notify=notify)

    closed = await _change_requests(ports.store, requests, given_up)
    await _notify(ports.notifications, closed)
    for job_id in {request.job_id for request in closed}:
        await park_unless_wanted(ports.store, job_id, ports.clock.now_ms())
    return len(closed)


async def replay(ports: Ports, requests: Iterable[Request]) -> dict[str, str]:
    """Start deliveries again, from their first attempt; return the result of each, by request."""
    started, results = [], {}
    for request in requests:
        try:
            started.append(await redelivery.replay(ports.store, request, ports.clock.now_ms()))
        except NotReplayable as error:
            results[request.id] = str(error)
        else:
            results[request.id] = REPLAYED
    await _notify(ports.notifications, started)
    return results


async def retry_now(ports: Ports, requests: Iterable[Request]) -> dict[str, str]:
    """Make waiting retries due now, for the next free slots; return the result of each, by request."""
    results = {}
    for request in requests:
        job = await ports.store.job(request.job_id)
        after = await amend(
            job,
            lambda seen: jobs.due_now(seen, ports.clock.now_ms()) if seen else None,
            ports.store.write_job,
        )
        results[request.id] = DUE_NOW if isinstance(after, Written) else NOT_HURRIED
    return results


async def _change_requests(
    store: JobStore, requests: Iterable[Request], decide: Callable[[Request], Request | None]
) -> list[Request]:
    """Write what `decide` returns for each request, and decide again after a conflicting write."""
    written = [await amend_request(store, request, decide) for request in requests]
    return [request for request in written if request]


async def _notify(queue: Queue, requests: Iterable[Request]) -> None:
    """Send the webhooks' first messages. The due index finds a webhook whose message is lost."""
    due = [request for request in requests if request.delivery_due]
    await queue.send([NotificationMessage(request.job_id, request.id, 0).encode() for request in due])


@app.command("status")
def status_command(context: Context, request_id: str) -> None:
    """Show the state of a request.

    The message and the signature are not shown: they belong to the caller.
    """
    session: Session = context.obj
    (found,) = session.run(partial(_found, wanted=tool.wanted_by([request_id], "", "", "")))
    show.document(standing_document(found), as_json=session.as_json)


@app.command("list")
def list_command(
    context: Context,
    state: Annotated[
        list[str],
        typer.Option(help=f"{', '.join(State)}; may be repeated."),
    ],
    client: Client = "",
    since: Since = "",
    until: Until = "",
    limit: Limit = LISTED_MAX,
) -> None:
    """List requests, oldest first.

    This scans the whole table, and costs read units by its size.

    \b
      list --state open --since 1h
      list --state undeliverable --state gone --client billing
    """  # noqa: D301 - the command line's sign for "keep these lines"
    session: Session = context.obj
    wanted = tool.wanted_by((), client, since, until)
    found = session.run(partial(_found, wanted=wanted, states=_states(state)))
    tool.show_rows(session, [standing_row(standing) for standing in found], limit)


@app.command("replay")
def replay_command(
    context: Context,
    request_ids: Ids = None,
    client: Client = "",
    since: Since = "",
    until: Until = "",
    *,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Send webhooks again, from the first attempt.

    By id: any that ended, also a delivered one. By caller or time: those that are undeliverable or gone.

    \b
      replay 0199a1b2-…
      replay --client billing --since 2h
    """  # noqa: D301 - as above
    session: Session = context.obj
    wanted = tool.wanted_by(request_ids, client, since, until)
    if wanted.empty:
        raise typer.BadParameter("say which: ids, --client, --since or --until")
    states = frozenset({State.DELIVERED, *ENDED_UNHEARD}) if request_ids else ENDED_UNHEARD
    found = session.run(partial(_found, wanted=wanted, states=states))
    tool.confirm(session, _standings(found), "Send these webhooks again?", dry_run=dry_run, yes=yes)
    _results(session, partial(replay, requests=[row.request for row in found]))


@app.command("retry-now")
def retry_now_command(
    context: Context,
    request_ids: Ids = None,
    client: Client = "",
    *,
    everything: Annotated[bool, typer.Option("--all", help="All that wait for a retry.")] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Make waiting retries due now. Each is called once the window has a free slot, so the limit is kept.

    \b
      retry-now 0199a1b2-…
      retry-now --client billing
      retry-now --all
    """  # noqa: D301 - as above
    session: Session = context.obj
    wanted = tool.wanted_by(request_ids, client, "", "")
    if wanted.empty is not everything:
        raise typer.BadParameter("say which: ids, --client or --all")
    found = session.run(partial(_found, wanted=wanted, states=frozenset({State.RETRYING})))
    tool.confirm(session, _standings(found), "Try these again now?", dry_run=dry_run, yes=yes)
    _results(session, partial(retry_now, requests=[row.request for row in found]))


@app.command("purge")
def purge_command(
    context: Context,
    request_ids: Ids = None,
    client: Client = "",
    since: Since = "",
    until: Until = "",
    *,
    notify: Annotated[bool, typer.Option(help="Tell the callers by webhook.")] = True,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Fail open requests, with a reason: by id, by caller or time, or all.

    A call in flight is not aborted, but its result is not used. This cannot be undone.
    """
    session: Session = context.obj
    wanted = tool.wanted_by(request_ids, client, since, until)
    found = session.run(partial(_found, wanted=wanted, states=frozenset({State.OPEN})))
    question = f"Fail these requests{'' if notify else ', without telling their callers'}?"
    tool.confirm(session, _standings(found), question, dry_run=dry_run, yes=yes)
    requests = [row.request for row in found]
    session.say(purged=session.run(partial(purge, requests=requests, notify=notify)))


async def _found(
    ports: Ports, *, wanted: Filter, states: frozenset[State] = frozenset()
) -> Sequence[Standing]:
    return tool.some(await finding.find(ports, wanted, states))


def _states(names: Sequence[str]) -> frozenset[State]:
    try:
        return frozenset(State(name) for name in names)
    except ValueError as error:
        raise typer.BadParameter(f"{error}: one of {', '.join(State)}", param_hint="--state") from None


def _standings(found: Sequence[Standing]) -> list[show.Row]:
    return [standing_row(standing) for standing in found]


def _results(session: Session, action: Callable[[Ports], Coroutine[Any, Any, dict[str, str]]]) -> None:
    """Carry out an action on each request, and show each result; fail if none succeeded."""
    results = session.run(action)
    tool.show_rows(session, [{"id": each, "result": result} for each, result in results.items()], sys.maxsize)
    if not set(results.values()) & GOOD:
        raise typer.Exit(EXIT_FAILED)


def standing_row(standing: Standing) -> show.Row:
    """Return one line about a request."""
    request, delivery = standing.request, standing.request.delivery
    return {
        "id": request.id,
        "state": standing.state,
        "client": request.client,
        "created": show.time_text(request.created_ms),
        "attempts": standing.attempts if request.open else request.calls,
        "webhook": delivery.state.value,
        "why": _why(standing),
    }


def _why(standing: Standing) -> str:
    """Return the last error: the request's failure, else its webhook's, else its last call's."""
    request, job = standing.request, standing.job
    code = request.failure.reason if request.failure else request.delivery.reason
    code = code or (job.error if job and request.open else "")
    return explain(code) if code else ""


def standing_document(standing: Standing) -> show.Row:
    """Return all fields of a request except the message and the signature, which belong to the caller."""
    request, job, delivery = standing.request, standing.job, standing.request.delivery
    return {
        **standing_row(standing),
        "job": request.job_id,
        "closed": show.time_text(request.closed_ms),
        "failure": f"{request.failure.status} {request.failure.reason}" if request.failure else "",
        "webhook_url": request.webhook_url,
        "webhook_attempts": delivery.attempts,
        "webhook_next": show.time_text(delivery.not_before_ms) if request.delivery_due else "",
        "webhook_ended": show.time_text(delivery.ended_ms),
        "webhook_answer": delivery.excerpt,
        "next_look": show.time_text(request.due_ms),
        "next_call": show.time_text(job.due_ms) if job else "",
        "call_until": show.time_text(job.call.until_ms) if job and job.call else "",
    }
