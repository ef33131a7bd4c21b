"""The operator's command-line tool: `python -m infra.ops --help`."""

import asyncio
import getpass
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, TypeVar

import typer

from adapters import ed25519
from core.errors import RelayError
from core.secrets import HOLDER_NAME
from core.window import Limits
from infra.local.keys import new_token_key, new_webhook_secret
from infra.ops import actions, dead_letters, overviews, show
from infra.ops.actions import Filter, NothingFound, Ports, Standing, State
from infra.ops.connect import connect

EXIT_FAILED = 1
EXIT_NOTHING = 3
LEASE_MS = 42_250
"""Of the default settings, without W: send limit, time limit of a call, grace and margin."""
LISTED_MAX = 100
SIGNERS = {
    "webhook-secrets": (actions.WEBHOOK_SECRETS, "The secrets that sign the webhooks."),
    "signing-keys": (actions.SIGNING_KEYS, "The Ed25519 keys that sign the webhooks."),
    "token-keys": (actions.TOKEN_KEYS, "The keys that sign the tokens in status links."),
}

Result = TypeVar("Result")

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="""\
Find and repair what is stuck, on AWS, on LocalStack and on the embedded stack.

\b
  python -m infra.ops --endpoint http://127.0.0.1:4566 list --state open
  python -m infra.ops status 0199a1b2-…
  python -m infra.ops replay --client billing --since 2h --dry-run

\b
Exit status: 0 done, 1 failed or declined, 2 bad usage, 3 nothing found.
Credentials are looked for as by every AWS tool; a loopback endpoint gets dummy ones.""")  # fmt: skip
letters_app = typer.Typer(no_args_is_help=True, help="Messages that could not be handled.")
limit_app = typer.Typer(no_args_is_help=True, help="The upstream's limit: N calls in any W.")
keys_app = typer.Typer(no_args_is_help=True, help="API keys of callers and operators, in the secret.")
app.add_typer(letters_app, name="dead-letters")
app.add_typer(limit_app, name="limit")
app.add_typer(keys_app, name="keys")
window_app = typer.Typer(no_args_is_help=True, help="The slots of the limit.")
app.add_typer(window_app, name="window")
upstream_key_app = typer.Typer(no_args_is_help=True, help="Our key for the upstream, in the secret.")
app.add_typer(upstream_key_app, name="upstream-key")
secret_app = typer.Typer(no_args_is_help=True, help="The service's secret.")
app.add_typer(secret_app, name="secret")

Ids = Annotated[list[str] | None, typer.Argument(help="Request ids.", show_default=False)]
Client = Annotated[str, typer.Option(help="Only this caller's.", show_default=False)]
Since = Annotated[str, typer.Option(help="Accepted then or later: 30m, 2h, 3d (ago) or ISO 8601.")]
Until = Annotated[str, typer.Option(help="Accepted before then.")]
Retire = Annotated[bool, typer.Option("--retire", help="Sign with the newest one only from here on.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
Operator = Annotated[bool, typer.Option("--operator", help="Of an operator, who sees all in the console.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


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


Context = typer.Context


@app.callback()
def options(
    context: Context,
    stack: Annotated[
        str, typer.Option(help="The CloudFormation stack.", envvar="RELAY_STACK")
    ] = "signing-relay",
    endpoint: Annotated[
        str | None, typer.Option(help="An emulator's URL.", envvar="AWS_ENDPOINT_URL", show_default="AWS")
    ] = None,
    region: Annotated[str | None, typer.Option(envvar="AWS_REGION", show_default="as configured")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of tables; may stand anywhere.")
    ] = False,
) -> None:
    """Take the options that all commands share."""
    context.obj = Session(stack, endpoint, region, as_json)


@app.command()
def overview(context: Context) -> None:
    """Show the service's state, its reason and what to do: the console's headline."""
    session: Session = context.obj
    show.document(session.run(overviews.document), as_json=session.as_json)


@app.command()
def status(context: Context, request_id: str) -> None:
    """Show the state of a request.

    The message and the signature are not shown: they belong to the caller.
    """
    session: Session = context.obj
    (found,) = session.run(partial(_found, wanted=Filter(ids=frozenset({request_id}))))
    show.document(show.standing_document(found), as_json=session.as_json)


@app.command("list")
def list_(
    context: Context,
    state: Annotated[
        list[str],
        typer.Option(help=f"{', '.join(State)}; may be repeated."),
    ],
    client: Client = "",
    since: Since = "",
    until: Until = "",
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many.")] = LISTED_MAX,
) -> None:
    """List requests, oldest first.

    This scans the whole table, and costs read units by its size.

    \b
      list --state open --since 1h
      list --state undeliverable --state gone --client billing
    """  # noqa: D301 - the command line's sign for "keep these lines"
    session: Session = context.obj
    wanted = _filter((), client, since, until)
    found = session.run(partial(_found, wanted=wanted, states=_states(state)))
    _rows(session, [show.standing_row(standing) for standing in found], limit)


@app.command()
def replay(
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
    wanted = _filter(request_ids, client, since, until)
    if wanted.empty:
        raise typer.BadParameter("say which: ids, --client, --since or --until")
    states = frozenset({State.DELIVERED, *actions.ENDED_UNHEARD}) if request_ids else actions.ENDED_UNHEARD
    found = session.run(partial(_found, wanted=wanted, states=states))
    _confirm(session, _standings(found), "Send these webhooks again?", dry_run=dry_run, yes=yes)
    _results(session, partial(actions.replay, requests=[row.request for row in found]))


@app.command("retry-now")
def retry_now(
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
    wanted = _filter(request_ids, client, "", "")
    if wanted.empty is not everything:
        raise typer.BadParameter("say which: ids, --client or --all")
    found = session.run(partial(_found, wanted=wanted, states=frozenset({State.RETRYING})))
    _confirm(session, _standings(found), "Try these again now?", dry_run=dry_run, yes=yes)
    _results(session, partial(actions.retry_now, requests=[row.request for row in found]))


@app.command()
def purge(
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
    wanted = _filter(request_ids, client, since, until)
    found = session.run(partial(_found, wanted=wanted, states=frozenset({State.OPEN})))
    question = f"Fail these requests{'' if notify else ', without telling their callers'}?"
    _confirm(session, _standings(found), question, dry_run=dry_run, yes=yes)
    requests = [row.request for row in found]
    session.say(purged=session.run(partial(actions.purge, requests=requests, notify=notify)))


@app.command()
def pause(
    context: Context, by: Annotated[str, typer.Option(help="Who pauses; the console shows it.")] = ""
) -> None:
    """Stop all upstream calls. Requests are still accepted and wait."""
    session: Session = context.obj
    session.say(paused=True, changed=session.run(partial(actions.pause, by=by or getpass.getuser())))


@app.command()
def resume(context: Context) -> None:
    """Resume upstream calls."""
    session: Session = context.obj
    session.say(paused=False, changed=session.run(actions.resume))


@app.command()
def unblock(context: Context) -> None:
    """End the wait after the upstream's 429, and probe a refused key at once."""
    session: Session = context.obj
    session.say(changed=session.run(actions.unblock))


@letters_app.command("list")
def letters_list(
    context: Context,
    client: Client = "",
    since: Since = "",
    until: Until = "",
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many.")] = LISTED_MAX,
) -> None:
    """List dead letters, with the requests that each names. They stay in the queue."""
    session: Session = context.obj
    _rows(session, _letters(session, _filter((), client, since, until)), limit)


@letters_app.command("delete")
def letters_delete(
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
    wanted = _filter(request_ids, client, since, until)
    _confirm(session, _letters(session, wanted), "Delete these dead letters?", dry_run=dry_run, yes=yes)
    session.say(deleted=session.run(partial(dead_letters.delete, wanted=wanted)))


def _letters(session: Session, wanted: Filter) -> list[show.Row]:
    letters = _some(session.run(partial(dead_letters.list_all, wanted=wanted)))
    return [show.letter_row(letter) for letter in letters]


@limit_app.command("show")
def limit_show(context: Context) -> None:
    """Show N, W and the slots in use."""
    session: Session = context.obj

    async def document(ports: Ports) -> show.Row:
        return show.window_document(await ports.window_store.read(), ports.clock.now_ms())

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
    _confirm(session, [row], "Change the limit to this?", dry_run=dry_run, yes=yes)
    changed = session.run(partial(actions.set_limits, calls=calls, window_ms=window_ms))
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
    _confirm(session, [row], "Stop calls for so long?", dry_run=dry_run, yes=yes)
    session.say(**row, changed=session.run(partial(actions.fill_window, for_ms=for_ms)))


@upstream_key_app.command("set")
def upstream_key_set(context: Context) -> None:
    """Read the upstream's key from standard input, and replace it. Nothing else of the secret changes.

    Functions use it within five minutes. If the upstream refuses the old key, the new one is probed at once.
    """
    session: Session = context.obj
    key = getpass.getpass("The upstream's key: ") if sys.stdin.isatty() else sys.stdin.readline().strip()
    if not key:
        raise typer.BadParameter("standard input has no key")
    session.run(partial(actions.set_upstream_key, key=key))
    session.say(upstream_key="replaced")


@secret_app.command("init")
def secret_init(
    context: Context,
    client: Annotated[str, typer.Option(help="The first caller's name.")] = "default",
    upstream_key: Annotated[
        str,
        typer.Option(
            prompt="The key that the upstream gave us",
            hide_input=True,
            envvar="SYNTHESIA_API_KEY",
            show_envvar=True,
            help="Asked for if it is not in the environment; better not on the command line.",
        ),
    ] = "",
) -> None:
    """Fill the empty secret of a new stack: the upstream's key, and new keys, which are shown only now.

    A secret that is not empty is never replaced.
    """
    session: Session = context.obj
    key, webhook_secret = actions.new_key(), new_webhook_secret()
    document = {
        "upstream_key": upstream_key,
        actions.CLIENTS: {client: key},
        actions.WEBHOOK_SECRETS: [webhook_secret],
        actions.TOKEN_KEYS: [new_token_key()],
    }
    session.run(lambda ports: actions.init_secret(ports.vault, document))
    session.say(client=client, key=key, webhook_secret=webhook_secret)


@keys_app.command("list")
def keys_list(context: Context, *, operator: Operator = False) -> None:
    """List the names that have a key: the callers, or the operators."""
    session: Session = context.obj
    names = session.run(lambda ports: actions.key_names(ports.vault, _holders(operator=operator)))
    _rows(session, [_holder(name, operator=operator) for name in names], sys.maxsize)


@keys_app.command("add")
def keys_add(context: Context, name: str, *, operator: Operator = False) -> None:
    """Make a key for a caller or an operator; a caller also gets a webhook secret. They are shown only now.

    Functions accept it within five minutes. At every start the local stacks read their keys from
    CLIENT_API_KEYS and OPERATOR_API_KEYS.
    """
    session: Session = context.obj
    if not HOLDER_NAME.fullmatch(name):
        raise typer.BadParameter("letters, digits, _ . and - only, at most 64")
    webhook_secret = "" if operator else new_webhook_secret()
    holders = _holders(operator=operator)
    key = session.run(lambda ports: actions.add_key(ports.vault, name, holders, webhook_secret))
    shown = {"webhook_secret": webhook_secret} if webhook_secret else {}
    session.say(**_holder(name, operator=operator), key=key, **shown)


@keys_app.command("webhook-secret")
def keys_webhook_secret(context: Context, name: str, *, retire: Retire = False) -> None:
    """Sign a caller's webhooks with a new secret of its own and with the older one. It is shown only now."""
    session: Session = context.obj
    if retire:
        session.run(lambda ports: actions.retire_client_secrets(ports.vault, name))
        session.say(client=name, retired=True)
        return
    secret = new_webhook_secret()
    session.run(lambda ports: actions.add_client_secret(ports.vault, name, secret))
    session.say(client=name, webhook_secret=secret)


@keys_app.command("revoke")
def keys_revoke(
    context: Context, name: str, *, operator: Operator = False, dry_run: DryRun = False, yes: Yes = False
) -> None:
    """Revoke a key. Functions refuse it within five minutes."""
    session: Session = context.obj
    rows = [_holder(name, operator=operator)]
    _confirm(session, rows, "Revoke this key?", dry_run=dry_run, yes=yes)
    session.run(lambda ports: actions.revoke_key(ports.vault, name, _holders(operator=operator)))
    session.say(revoked=name)


def _holders(*, operator: bool) -> str:
    return actions.OPERATORS if operator else actions.CLIENTS


def _holder(name: str, *, operator: bool) -> show.Row:
    return {"operator" if operator else "client": name}


def _add_signer_commands(name: str, field: str, description: str) -> None:
    """Add the commands that rotate one kind of key."""
    group = typer.Typer(no_args_is_help=True, help=f"{description} Rotation: add, wait, retire.")

    @group.command()
    def add(context: Context) -> None:
        """Sign with a new key; the old one stays valid. The receivers' half is shown only now."""
        session: Session = context.obj
        new, public_key, shown = _new_signer(field)
        session.run(lambda ports: actions.add_signer(ports.vault, field, new, public_key))
        session.say(**shown)

    @group.command()
    def retire(context: Context, *, dry_run: DryRun = False, yes: Yes = False) -> None:
        """Keep only the newest key. Use this once no receiver needs the older one."""
        session: Session = context.obj
        _confirm(session, [{"retire": name}], "Retire all but the newest?", dry_run=dry_run, yes=yes)
        session.say(retired=session.run(lambda ports: actions.retire_signers(ports.vault, field)))

    app.add_typer(group, name=name)


def _new_signer(field: str) -> tuple[str, str, show.Row]:
    """Return a new key, its public half if it has one, and the text for the operator."""
    if field == actions.WEBHOOK_SECRETS:
        secret = new_webhook_secret()
        return secret, "", {"secret": secret}
    if field == actions.TOKEN_KEYS:
        return new_token_key(), "", {"added": "token key"}
    key = ed25519.generate_private_key()
    public_key = ed25519.public_key(key)
    return key, public_key, {"public_key": public_key}


for _name, (_field, _description) in SIGNERS.items():
    _add_signer_commands(_name, _field, _description)


async def _found(
    ports: Ports, *, wanted: Filter, states: frozenset[State] = frozenset()
) -> Sequence[Standing]:
    return _some(await actions.find(ports, wanted, states))


def _some(found: Sequence[Result]) -> Sequence[Result]:
    if not found:
        raise NothingFound("nothing found")
    return found


def _filter(ids: Sequence[str] | None, client: str, since: str, until: str) -> Filter:
    return Filter(frozenset(ids or ()), client, _moment_ms(since, "--since"), _moment_ms(until, "--until"))


def _moment_ms(text: str, option: str) -> int | None:
    try:
        return show.moment_ms(text) if text else None
    except ValueError:
        raise typer.BadParameter("30m, 2h, 3d (ago) or an ISO 8601 time", param_hint=option) from None


def _states(names: Sequence[str]) -> frozenset[State]:
    try:
        return frozenset(State(name) for name in names)
    except ValueError as error:
        raise typer.BadParameter(f"{error}: one of {', '.join(State)}", param_hint="--state") from None


def _standings(found: Sequence[Standing]) -> list[show.Row]:
    return [show.standing_row(standing) for standing in found]


def _rows(session: Session, rows: Sequence[show.Row], limit: int) -> None:
    """Show rows up to a limit, with their total above the table."""
    title = f"{len(rows)} found" + (f", the first {limit}" if len(rows) > limit else "")
    show.rows(rows[:limit], title, as_json=session.as_json)


def _results(session: Session, action: Callable[[Ports], Coroutine[Any, Any, dict[str, str]]]) -> None:
    """Carry out an action on each request, and show each result; fail if none succeeded."""
    results = session.run(action)
    _rows(session, [{"id": each, "result": result} for each, result in results.items()], sys.maxsize)
    if not set(results.values()) & actions.GOOD:
        raise typer.Exit(EXIT_FAILED)


def _confirm(session: Session, rows: Sequence[show.Row], question: str, *, dry_run: bool, yes: bool) -> None:
    """Show the plan, then stop (a dry run) or ask (unless `yes`)."""
    if dry_run:
        _rows(session, rows, LISTED_MAX)
        raise typer.Exit
    if not yes:
        _rows(session, rows, LISTED_MAX)
        typer.confirm(question, abort=True, err=True)


def main() -> None:
    """Run the tool and return its exit status."""
    try:
        words = sys.argv[1:]
        as_json = ["--json"] if "--json" in words else []
        app(as_json + [word for word in words if word != "--json"], prog_name="python -m infra.ops")
    except RelayError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(EXIT_NOTHING if isinstance(error, NothingFound) else EXIT_FAILED)


if __name__ == "__main__":
    main()
