"""The upstream's limit: its numbers, its slots, and what stops calls."""

import getpass
from collections.abc import Callable
from functools import partial
from typing import Annotated

import typer

from calling.conditional import amend_gate
from core import gate as gates
from core import window as windows
from core.gate import Gate
from core.window import Change, Limits
from infra.ops import show, tool
from infra.ops.ports import Ports
from infra.ops.tool import Context, DryRun, Session, Yes
from ports import WindowStore, Written

LEASE_MS = 42_250
"""Of the default settings, without W: send limit, time limit of a call, grace and margin."""

app = typer.Typer()
limit_app = typer.Typer(no_args_is_help=True, help="The upstream's limit: N calls in any W.")
window_app = typer.Typer(no_args_is_help=True, help="The slots of the limit.")


async def pause(ports: Ports, *, by: str) -> bool:
    """Stop upstream calls; return whether that changed the state."""
    now_ms = ports.clock.now_ms()
    return await _change_window(ports.window_store, lambda gate: gates.pause(gate, by=by, now_ms=now_ms))


async def resume(ports: Ports) -> bool:
    """Resume upstream calls; return whether that changed the state."""
    return await _change_window(ports.window_store, lambda gate: gates.resume(gate, ports.clock.now_ms()))


async def unblock(ports: Ports) -> bool:
    """End the wait after a 429 or a refused key; return whether that changed the state."""
    return await _change_window(ports.window_store, lambda gate: gates.unblock(gate, ports.clock.now_ms()))


async def fill_window(ports: Ports, for_ms: int) -> bool:
    """Make every slot busy for this long; return whether that changed the state."""
    free_at_ms = ports.clock.now_ms() + for_ms
    return await _change_window(ports.window_store, lambda gate: windows.fill(gate.window, free_at_ms))


async def set_limits(ports: Ports, calls: int, window_ms: int) -> bool:
    """Change N and W until a deployment requests other numbers; return whether that changed the state."""
    return await _change_window(
        ports.window_store, lambda gate: windows.change_limits(gate.window, calls, window_ms, deployed=False)
    )


async def _change_window(store: WindowStore, decide: Callable[[Gate], Change | None]) -> bool:
    return isinstance(await amend_gate(await store.read(), decide, store.apply), Written)


@app.command("pause")
def pause_command(
    context: Context, by: Annotated[str, typer.Option(help="Who pauses; the console shows it.")] = ""
) -> None:
    """Stop all upstream calls. Requests are still accepted and wait."""
    session: Session = context.obj
    session.say(paused=True, changed=session.run(partial(pause, by=by or getpass.getuser())))


@app.command("resume")
def resume_command(context: Context) -> None:
    """Resume upstream calls."""
    session: Session = context.obj
    session.say(paused=False, changed=session.run(resume))


@app.command("unblock")
def unblock_command(context: Context) -> None:
    """End the wait after the upstream's 429, and probe a refused key at once."""
    session: Session = context.obj
    session.say(changed=session.run(unblock))


@limit_app.command("show")
def limit_show(context: Context) -> None:
    """Show N, W and the slots in use."""
    session: Session = context.obj

    async def document(ports: Ports) -> show.Row:
        return window_document(await ports.window_store.read(), ports.clock.now_ms())

    show.document(session.run(document), as_json=session.as_json)


@limit_app.command("set")
def limit_set(
    context: Context, calls: int, window_seconds: float, *, dry_run: DryRun = False, yes: Yes = False
) -> None:
    """Change N and W at once, for all functions. The limit is kept during the change.

    It holds until a deployment requests other numbers than the deployment before.
    """
    session: Session = context.obj
    window_ms = round(window_seconds * 1000)
    try:
        Limits(calls, window_ms)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    row = {"calls": calls, "window_seconds": window_seconds}
    tool.confirm(session, [row], "Change the limit to this?", dry_run=dry_run, yes=yes)
    changed = session.run(partial(set_limits, calls=calls, window_ms=window_ms))
    session.say(**row, changed=changed)


@window_app.command("fill")
def window_fill(
    context: Context,
    seconds: Annotated[
        float | None,
        typer.Option(min=0, help="For how long.", show_default="a lease of the default settings"),
    ] = None,
    *,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Make every slot busy for a lease: a restored table may lack recent calls.

    No call is made until the lease ends. With a longer UPSTREAM_TIMEOUT_SECONDS or UPSTREAM_GRACE_SECONDS
    than the defaults, give the seconds: send limit (2) + timeout + grace + W + margin.
    """
    session: Session = context.obj

    async def lease_ms(ports: Ports) -> int:
        gate = await ports.window_store.read()
        return round(1000 * seconds) if seconds else LEASE_MS + gate.window.limits.window_ms

    for_ms = session.run(lease_ms)
    row = {"every_slot_busy_for_seconds": for_ms / 1000}
    tool.confirm(session, [row], "Stop calls for so long?", dry_run=dry_run, yes=yes)
    session.say(**row, changed=session.run(partial(fill_window, for_ms=for_ms)))


def window_document(gate: Gate, now_ms: int) -> show.Row:
    """Return the limits and the slots in use."""
    window = gate.window
    return {
        "calls": window.limits.calls,
        "window_seconds": window.limits.window_ms / 1000,
        "free": window.free_slots(now_ms),
        "next_free": show.time_text(min(slot.free_at_ms for slot in window.slots)),
        "paused": gate.paused,
        "blocked_until": show.time_text(window.blocked_until_ms) if window.blocked_until_ms > now_ms else "",
        "key_in_doubt": gate.key.suspected,
        "deployed": window.deployed,
    }
