"""The service's one secret: the upstream's key, callers' keys, webhook keys, token keys.

The functions, the operator's tool and the local stacks all read it with `Secrets.parse`, by the same rules.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from core.errors import SettingError
from core.webhook import parse_private_key, parse_public_key, parse_secret

HOLDER_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
KEY = re.compile(r"[!-~]{1,256}")  # travels in a header: visible ASCII
TOKEN_KEY = re.compile(r"[!-~]{32,256}")
TOKEN_KEYS_MAX = 2


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the secret holds. `repr` shows no key.

    `clients`, `operators`: from name to key; an operator sees every caller's requests.
    `token_keys`: the first one signs status tokens, a token of any of them is valid.
    """

    upstream_key: str = field(repr=False)
    clients: Mapping[str, str] = field(repr=False)
    webhook_secrets: tuple[str, ...] = field(repr=False)
    signing_keys: tuple[str, ...] = field(repr=False)
    token_keys: tuple[str, ...] = field(repr=False)
    operators: Mapping[str, str] = field(default_factory=dict, repr=False)
    client_webhook_secrets: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    public_keys: tuple[str, ...] = ()
    retired_public_keys: tuple[str, ...] = ()

    def webhook_secrets_of(self, client: str) -> tuple[str, ...]:
        """Return what signs a caller's webhooks: secrets of its own, or else those for everybody."""
        return self.client_webhook_secrets.get(client, self.webhook_secrets)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the secret's JSON text; raises `SettingError`, which names the field and repeats no value."""
        values = _document(text)
        clients = holders("clients", _object("clients", values.get("clients")).items())
        operators = holders("operators", _object("operators", values.get("operators", {})).items())
        refuse_shared_keys("operators", operators, "clients", clients)
        own = _object("client_webhook_secrets", values.get("client_webhook_secrets", {}))
        return cls(
            upstream_key=upstream_key("upstream_key", values.get("upstream_key")),
            clients=clients,
            webhook_secrets=_webhook_secrets("webhook_secrets", values.get("webhook_secrets")),
            signing_keys=_keys("signing_keys", values, parse_private_key),
            token_keys=_token_keys(values),
            operators=operators,
            client_webhook_secrets={
                client: _webhook_secrets("client_webhook_secrets", secrets) for client, secrets in own.items()
            },
            public_keys=_keys("public_keys", values, parse_public_key),
            retired_public_keys=_keys("retired_public_keys", values, parse_public_key),
        )


def holders(field_name: str, pairs: Iterable[tuple[str, object]]) -> dict[str, str]:
    """Return keys by holder's name, from pairs of name and key; raises `SettingError`.

    Two holders with the same key are refused: each would see the other's requests.
    """
    listed = list(pairs)
    found = {name: key for name, key in listed if isinstance(key, str)}
    usable = all(HOLDER_NAME.fullmatch(name) and KEY.fullmatch(key) for name, key in found.items())
    if not usable or len(found) < len(listed) or len({*found.values()}) < len(listed):
        raise SettingError(
            f"{field_name} must be distinct names (letters, digits, _ . -; at most 64) with distinct keys "
            "of 1 to 256 visible ASCII characters"
        )
    return found


def refuse_shared_keys(
    field_name: str, operators: Mapping[str, str], clients_name: str, clients: Mapping[str, str]
) -> None:
    """Raise `SettingError` if a caller's key is an operator's: that caller would see everybody's requests."""
    if {*operators.values()} & {*clients.values()}:
        raise SettingError(f"{field_name} must be other keys than those of {clients_name}")


def upstream_key(field_name: str, value: object) -> str:
    """Return the key; raises `SettingError`, also for a key with a blank or a line end."""
    if not isinstance(value, str) or not KEY.fullmatch(value):
        raise SettingError(f"{field_name} must be 1 to 256 visible ASCII characters")
    return value


def _document(text: str) -> Mapping[str, object]:
    try:
        values = json.loads(text, object_pairs_hook=_once_each)
    except (ValueError, RecursionError):
        raise SettingError("the secret is not JSON") from None
    return _object("the secret", values)


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = Counter(name for name, _ in pairs)
    if twice := [name for name, count in names.items() if count > 1]:
        raise SettingError(f"the secret names {twice[0]} twice")
    return dict(pairs)


def _object(field_name: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise SettingError(f"{field_name} must be a JSON object")
    return value


def _texts(field_name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise SettingError(f"{field_name} must be a list of texts")
    return tuple(value)


def _webhook_secrets(field_name: str, value: object) -> tuple[str, ...]:
    """Return `whsec_` secrets, at least one: no webhook is sent unsigned."""
    secrets = _texts(field_name, value)
    if not secrets:
        raise SettingError(f"{field_name} must have at least one secret")
    return _each(field_name, secrets, parse_secret)


def _keys(field_name: str, values: Mapping[str, object], parse: Callable[[str], object]) -> tuple[str, ...]:
    return _each(field_name, _texts(field_name, values.get(field_name, [])), parse)


def _each(field_name: str, keys: tuple[str, ...], parse: Callable[[str], object]) -> tuple[str, ...]:
    """Return the keys if each can be parsed; else raise the parser's error with the field's name."""
    for key in keys:
        try:
            parse(key)
        except SettingError as error:
            raise SettingError(f"{field_name}: {error}") from None
    return keys


def _token_keys(values: Mapping[str, object]) -> tuple[str, ...]:
    """Return the token keys, newest first. Version 0.1 had only one, as `token_key`."""
    one = values.get("token_key")
    keys = _texts("token_keys", values.get("token_keys", [one] if one else []))
    usable = all(TOKEN_KEY.fullmatch(key) for key in keys)
    if not usable or not 1 <= len(keys) <= TOKEN_KEYS_MAX:
        raise SettingError(
            f"token_keys must be 1 to {TOKEN_KEYS_MAX} keys of 32 to 256 visible ASCII characters"
        )
    return keys
