"""API keys of callers and operators, and the webhook secrets of callers."""

import sys
from typing import Annotated, Any

import typer

from core.secrets import HOLDER_NAME
from infra.local.keys import new_webhook_secret
from infra.ops import secret, show, tool
from infra.ops.ports import NothingFound, Refused, Secret, Vault
from infra.ops.secret import CLIENT_WEBHOOK_SECRETS, CLIENTS, OPERATORS, WEBHOOK_SECRETS, new_key
from infra.ops.tool import Context, DryRun, Session, Yes

app = typer.Typer(no_args_is_help=True, help="API keys of callers and operators, in the secret.")
Retire = Annotated[bool, typer.Option("--retire", help="Sign with the newest one only from here on.")]
Operator = Annotated[bool, typer.Option("--operator", help="An operator's key: shows all requests.")]


async def key_names(vault: Vault, holders: str = CLIENTS) -> list[str]:
    """Return the names that have a key."""
    return sorted((await vault.read()).document.get(holders, {}))


async def add_key(vault: Vault, name: str, holders: str = CLIENTS, webhook_secret: str = "") -> str:
    """Make a key for a caller or an operator and return it. It is shown only now.

    `webhook_secret`: what signs the webhooks of this caller alone.
    """
    key = new_key()

    def added(secret: Secret) -> Secret:
        known = secret.get(holders, {})
        if name in known:
            raise Refused(f"{name} has a key already: revoke it first")
        own = {CLIENT_WEBHOOK_SECRETS: _signed_with(secret, name, [webhook_secret])} if webhook_secret else {}
        return secret | {holders: {**known, name: key}} | own

    await secret.change(vault, added)
    return key


async def add_client_secret(vault: Vault, name: str, new: str) -> None:
    """Sign a caller's webhooks with a new secret of its own. Its present one signs them too."""

    def added(secret: Secret) -> Secret:
        _require_client(secret, name)
        old = secret.get(CLIENT_WEBHOOK_SECRETS, {}).get(name, secret.get(WEBHOOK_SECRETS, []))
        return secret | {CLIENT_WEBHOOK_SECRETS: _signed_with(secret, name, [new, *old])}

    await secret.change(vault, added)


async def retire_client_secrets(vault: Vault, name: str) -> None:
    """Sign a caller's webhooks with its newest secret only."""

    def retired(secret: Secret) -> Secret:
        _require_client(secret, name)
        newest, *older = secret.get(CLIENT_WEBHOOK_SECRETS, {}).get(name) or [None]
        if not older:
            raise NothingFound(f"{name} has no older secret")
        return secret | {CLIENT_WEBHOOK_SECRETS: _signed_with(secret, name, [newest])}

    await secret.change(vault, retired)


def _require_client(secret: Secret, name: str) -> None:
    if name not in secret.get(CLIENTS, {}):
        raise NothingFound(f"{name} has no key")


def _signed_with(secret: Secret, name: str, secrets_: list[Any]) -> dict[str, Any]:
    return {**secret.get(CLIENT_WEBHOOK_SECRETS, {}), name: secrets_}


async def revoke_key(vault: Vault, name: str, holders: str = CLIENTS) -> None:
    """Revoke a key. Accepted requests are still delivered, signed with the caller's webhook secret."""

    def revoked(secret: Secret) -> Secret:
        known = secret.get(holders, {})
        if name not in known:
            raise NothingFound(f"{name} has no key")
        return secret | {holders: {other: key for other, key in known.items() if other != name}}

    await secret.change(vault, revoked)


@app.command("list")
def list_command(context: Context, *, operator: Operator = False) -> None:
    """List the names that have a key: the callers, or the operators."""
    session: Session = context.obj
    names = session.run(lambda ports: key_names(ports.vault, _holders(operator=operator)))
    tool.show_rows(session, [_holder(name, operator=operator) for name in names], sys.maxsize)


@app.command("add")
def add_command(context: Context, name: str, *, operator: Operator = False) -> None:
    """Make a key for a caller or an operator; a caller also gets a webhook secret. They are shown only now.

    Functions accept it within five minutes. At every start the local stacks read their keys from
    CLIENT_API_KEYS and OPERATOR_API_KEYS.
    """
    session: Session = context.obj
    if not HOLDER_NAME.fullmatch(name):
        raise typer.BadParameter("letters, digits, _ . and - only, at most 64")
    webhook_secret = "" if operator else new_webhook_secret()
    holders = _holders(operator=operator)
    key = session.run(lambda ports: add_key(ports.vault, name, holders, webhook_secret))
    shown = {"webhook_secret": webhook_secret} if webhook_secret else {}
    session.say(**_holder(name, operator=operator), key=key, **shown)


@app.command("webhook-secret")
def webhook_secret_command(context: Context, name: str, *, retire: Retire = False) -> None:
    """Sign a caller's webhooks with a new secret of its own and with the older one. It is shown only now."""
    session: Session = context.obj
    if retire:
        session.run(lambda ports: retire_client_secrets(ports.vault, name))
        session.say(client=name, retired=True)
        return
    secret = new_webhook_secret()
    session.run(lambda ports: add_client_secret(ports.vault, name, secret))
    session.say(client=name, webhook_secret=secret)


@app.command("revoke")
def revoke_command(
    context: Context, name: str, *, operator: Operator = False, dry_run: DryRun = False, yes: Yes = False
) -> None:
    """Revoke a key. Functions refuse it within five minutes."""
    session: Session = context.obj
    rows = [_holder(name, operator=operator)]
    tool.confirm(session, rows, "Revoke this key?", dry_run=dry_run, yes=yes)
    session.run(lambda ports: revoke_key(ports.vault, name, _holders(operator=operator)))
    session.say(revoked=name)


def _holders(*, operator: bool) -> str:
    return OPERATORS if operator else CLIENTS


def _holder(name: str, *, operator: bool) -> show.Row:
    return {"operator" if operator else "client": name}
