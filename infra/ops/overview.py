"""The service's state for the command line: the console's headline."""

import typer

from console.reading import Reader, facts
from core.headline import headline
from infra.ops import show
from infra.ops.ports import Ports
from infra.ops.tool import Context, Session

app = typer.Typer()


async def document(ports: Ports) -> show.Row:
    """Return the headline and its figures; raises `Unavailable`."""
    reader = Reader(ports.store, ports.window_store.read, ports.history, ports.clock)
    reading = await reader.read()
    letters = {name: await queue.count() for name, queue in ports.dead_letters.items()}
    known = facts(reading, reading.requests, sum(letters.values()))
    told = headline(known)
    more = "+" if known.uncounted else ""
    return {
        "state": told.state.value,
        "title": told.title,
        "why": told.why,
        "todo": told.todo,
        "since": show.time_text(told.since_ms),
        "slots_in_use": f"{known.used} of {known.gate.window.limits.calls}",
        "most_in_use_in_the_last_hour": max([known.used, *(minute.used for minute in reading.hour)]),
        "waiting": f"{known.waiting}{more}",
        "retrying": f"{known.retrying}{more}",
        "last_error": known.gate.tally.error,
        "webhooks_failing": known.webhooks_failing,
        "webhooks_given_up_in_the_last_hour": known.webhooks_given_up,
        **{f"dead_letters_{name}": count for name, count in letters.items()},
        "last_run": show.time_text(known.ran_at_ms),
    }


@app.command("overview")
def overview_command(context: Context) -> None:
    """Show the service's state, its reason and what to do: the console's headline."""
    session: Session = context.obj
    show.document(session.run(document), as_json=session.as_json)
