"""The service's secret: the upstream's key, and the keys that sign webhooks and tokens."""

import contextlib
import getpass
import json
import secrets
import sys
from collections.abc import Callable
from functools import partial
from typing import Annotated

import typer

from adapters import ed25519
from adapters.secrets import parse_and_check
from calling.conditional import amend
from core.errors import SettingError
from infra.local.keys import new_token_key, new_webhook_secret
from infra.ops import show, tool, window
from infra.ops.ports import NothingFound, Ports, Refused, Secret, StoredSecret, Vault
from infra.ops.tool import Context, DryRun, Session, Yes

KEY_BYTES = 32
CLIENTS, OPERATORS = "clients", "operators"
CLIENT_WEBHOOK_SECRETS = "client_webhook_secrets"
WEBHOOK_SECRETS, SIGNING_KEYS = "webhook_secrets", "signing_keys"
TOKEN_KEYS, ONLY_TOKEN_KEY = "token_keys", "token_key"
PUBLIC_KEYS, RETIRED_PUBLIC_KEYS = "public_keys", "retired_public_keys"
SIGNERS = {
    "webhook-secrets": (WEBHOOK_SECRETS, "The secrets that sign the webhooks."),
    "signing-keys": (SIGNING_KEYS, "The Ed25519 keys that sign the webhooks."),
    "token-keys": (TOKEN_KEYS, "The keys that sign the tokens in status links."),
}

app = typer.Typer()
upstream_key_app = typer.Typer(
    no_args_is_help=True, help="The service's key for the upstream, in the secret."
)
secret_app = typer.Typer(no_args_is_help=True, help="The service's secret.")


async def change(vault: Vault, decide: Callable[[Secret], Secret]) -> None:
    """Change the secret. After a conflicting change, repeat this on the current version.

    Raises `Refused` if the functions could not use the result, and `TooManyConflicts`.
    """

    def checked(stored: StoredSecret | None) -> Secret | None:
        if stored is None:
            return None
        after = decide(stored.document)
        try:
            parse_and_check(json.dumps(after))
        except SettingError as error:
            raise Refused(str(error)) from None
        return after

    await amend(await vault.read(), checked, vault.write)


async def init_secret(vault: Vault, document: Secret) -> None:
    """Fill the secret of a new stack; raises `Refused` if it is filled, or this breaks a rule."""
    try:
        parse_and_check(json.dumps(document))
    except SettingError as error:
        raise Refused(str(error)) from None
    if not await vault.fill(document):
        raise Refused("the secret is filled already: change it by keys, webhook-secrets and the like")


def first_secret(upstream_key: str, client: str, key: str, webhook_secret: str) -> Secret:
    """Return the secret of a new stack with its first caller, whose webhook secret no later caller knows."""
    return {
        "upstream_key": upstream_key,
        CLIENTS: {client: key},
        CLIENT_WEBHOOK_SECRETS: {client: [webhook_secret]},
        WEBHOOK_SECRETS: [new_webhook_secret()],
        TOKEN_KEYS: [new_token_key()],
    }


def new_key() -> str:
    """Return a new API key."""
    return secrets.token_urlsafe(KEY_BYTES)


async def set_upstream_key(ports: Ports, key: str) -> None:
    """Replace only the upstream's key. If the key is suspected, the new one is probed at once."""
    await change(ports.vault, lambda secret: secret | {"upstream_key": key})
    with contextlib.suppress(NothingFound):  # without a window no key is suspected
        await window.unblock(ports)


async def add_signer(vault: Vault, kind: str, new: str, public_key: str = "") -> None:
    """Sign with a new key. The old keys stay valid, and old webhook keys sign too, until they are retired."""

    def added(secret: Secret) -> Secret:
        published = {PUBLIC_KEYS: [public_key, *secret.get(PUBLIC_KEYS, [])]} if public_key else {}
        return secret | {kind: [new, *_signers(secret, kind)]} | published

    await change(vault, added)


async def retire_signers(vault: Vault, kind: str) -> int:
    """Keep only the newest key; return how many were retired. Their public halves stay published."""
    retired = 0

    def left(secret: Secret) -> Secret:
        nonlocal retired
        signers = _signers(secret, kind)
        retired = len(signers) - 1
        if retired < 1:
            raise NothingFound("there is no older one")
        kept = {name: value for name, value in secret.items() if kind != TOKEN_KEYS or name != ONLY_TOKEN_KEY}
        return kept | {kind: signers[:1]} | (_retired_public_keys(secret) if kind == SIGNING_KEYS else {})

    await change(vault, left)
    return retired


def _signers(secret: Secret, kind: str) -> list[str]:
    """Return the keys of a kind, newest first; version 0.1 had one token key, under another name."""
    only = [secret[ONLY_TOKEN_KEY]] if kind == TOKEN_KEYS and ONLY_TOKEN_KEY in secret else []
    keys: list[str] = secret.get(kind, only)
    return keys


def _retired_public_keys(secret: Secret) -> Secret:
    published = secret.get(PUBLIC_KEYS, [])  # a secret filled by hand may publish none
    retired = [*published[1:], *secret.get(RETIRED_PUBLIC_KEYS, [])]
    return {PUBLIC_KEYS: published[:1], RETIRED_PUBLIC_KEYS: retired}


@upstream_key_app.command("set")
def upstream_key_set(context: Context) -> None:
    """Read the upstream's key from standard input, and replace it. Nothing else of the secret changes.

    Functions use it within five minutes. If the upstream refuses the old key, the new one is probed at once.
    """
    session: Session = context.obj
    key = getpass.getpass("The upstream's key: ") if sys.stdin.isatty() else sys.stdin.readline().strip()
    if not key:
        raise typer.BadParameter("standard input has no key")
    session.run(partial(set_upstream_key, key=key))
    session.say(upstream_key="replaced")


@secret_app.command("init")
def secret_init(
    context: Context,
    client: Annotated[str, typer.Option(help="The first caller's name.")] = "default",
    upstream_key: Annotated[
        str,
        typer.Option(
            prompt="The upstream's new key",
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
    key, webhook_secret = new_key(), new_webhook_secret()
    document = first_secret(upstream_key, client, key, webhook_secret)
    session.run(lambda ports: init_secret(ports.vault, document))
    session.say(client=client, key=key, webhook_secret=webhook_secret)


def _add_signer_commands(name: str, field: str, description: str) -> None:
    """Add the commands that rotate one kind of key."""
    group = typer.Typer(no_args_is_help=True, help=f"{description} Rotation: add, wait, retire.")

    @group.command()
    def add(context: Context) -> None:
        """Sign with a new key; the old one stays valid. The receivers' half is shown only now."""
        session: Session = context.obj
        new, public_key, shown = _new_signer(field)
        session.run(lambda ports: add_signer(ports.vault, field, new, public_key))
        session.say(**shown)

    @group.command()
    def retire(context: Context, *, dry_run: DryRun = False, yes: Yes = False) -> None:
        """Keep only the newest key. Use this once no receiver needs the older one."""
        session: Session = context.obj
        tool.confirm(session, [{"retire": name}], "Retire all but the newest?", dry_run=dry_run, yes=yes)
        session.say(retired=session.run(lambda ports: retire_signers(ports.vault, field)))

    app.add_typer(group, name=name)


def _new_signer(field: str) -> tuple[str, str, show.Row]:
    """Return a new key, its public half if it has one, and the text for the operator."""
    if field == WEBHOOK_SECRETS:
        secret = new_webhook_secret()
        return secret, "", {"secret": secret}
    if field == TOKEN_KEYS:
        return new_token_key(), "", {"added": "token key"}
    key = ed25519.generate_private_key()
    public_key = ed25519.public_key(key)
    return key, public_key, {"public_key": public_key}


for _name, (_field, _description) in SIGNERS.items():
    _add_signer_commands(_name, _field, _description)
