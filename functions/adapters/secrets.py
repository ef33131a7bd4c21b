"""The one secret: upstream key, callers' keys, webhook secrets, token key. From Secrets Manager, cached."""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters.aws import in_thread
from core.errors import SettingError, Unavailable
from core.webhook import (
    PRIVATE_KEY_BYTES,
    PRIVATE_KEY_PREFIX,
    decode_key,
    parse_public_key,
    parse_secret,
)
from ports import Clock

CACHED_MS = 300_000
FETCH_LIMIT_MS = 500
VISIBLE_ASCII = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the secret holds. Never shown by `repr`. `operators` see every caller's requests."""

    upstream_key: str = field(repr=False)
    clients: Mapping[str, str] = field(repr=False)
    webhook_secrets: tuple[str, ...] = field(repr=False)
    signing_keys: tuple[str, ...] = field(repr=False)
    token_key: str = field(repr=False)
    operators: Mapping[str, str] = field(default_factory=dict, repr=False)
    client_webhook_secrets: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    public_keys: tuple[str, ...] = ()
    retired_public_keys: tuple[str, ...] = ()

    def webhook_secrets_of(self, client: str) -> tuple[str, ...]:
        """Return what signs a caller's webhooks: secrets of its own, or else those for everybody."""
        return self.client_webhook_secrets.get(client, self.webhook_secrets)

    @classmethod
    def parse(cls, text: str) -> "Secrets":
        """Parse the secret's JSON text; raises `Unavailable`, which never repeats what it held."""
        try:
            values = json.loads(text)
            return cls(
                upstream_key=_header_value(values["upstream_key"]),
                clients=_texts(values["clients"]),
                webhook_secrets=_webhook_secrets(values["webhook_secrets"]),
                signing_keys=_signing_keys(values.get("signing_keys", [])),
                token_key=_text(values["token_key"]),
                operators=_texts(values.get("operators", {})),
                client_webhook_secrets={
                    _text(client): _webhook_secrets(secrets)
                    for client, secrets in values.get("client_webhook_secrets", {}).items()
                },
                public_keys=_public_keys(values.get("public_keys", [])),
                retired_public_keys=_public_keys(values.get("retired_public_keys", [])),
            )
        except (ValueError, KeyError, TypeError, AttributeError, SettingError):
            raise Unavailable("the secret is empty or malformed: see docs/operations.md") from None


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in values.items()}


def _list_of_texts(values: object) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError
    return tuple(_text(value) for value in values)


def _webhook_secrets(values: object) -> tuple[str, ...]:
    """Return `whsec_` secrets, at least one: nothing is ever sent unsigned."""
    secrets = _list_of_texts(values)
    if not secrets:
        raise ValueError
    for secret in secrets:
        parse_secret(secret)
    return secrets


def _signing_keys(values: object) -> tuple[str, ...]:
    keys = _list_of_texts(values)
    for key in keys:
        decode_key(key, PRIVATE_KEY_PREFIX, PRIVATE_KEY_BYTES)
    return keys


def _public_keys(values: object) -> tuple[str, ...]:
    keys = _list_of_texts(values)
    for key in keys:
        parse_public_key(key)
    return keys


def _header_value(value: object) -> str:
    """Return a text that can stand in a header as it is: a stray space or line end is nobody's key."""
    text = _text(value)
    if not VISIBLE_ASCII.fullmatch(text):
        raise ValueError
    return text


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError
    return value


class SecretsManager:
    """Fetches the secret, keeps it for five minutes, and keeps a stale one while a refresh fails."""

    def __init__(self, client: Any, secret_id: str, clock: Clock) -> None:
        self._client = client
        self._secret_id = secret_id
        self._clock = clock
        self._secrets: Secrets | None = None
        self._refresh_at_ms = 0

    async def get(self) -> Secrets:
        """Return the secret; raises `Unavailable` if it was never to be had."""
        if self._secrets is None or self._clock.monotonic_ms() >= self._refresh_at_ms:
            await self._refresh()
        return self.current()

    def current(self) -> Secrets:
        """Return the secret as it was last fetched."""
        if self._secrets is None:
            raise Unavailable("the secret was never fetched")
        return self._secrets

    def expire(self) -> None:
        """Have it fetched anew at the next use: a key of it was refused, and may have been changed."""
        self._refresh_at_ms = 0

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(FETCH_LIMIT_MS / 1000):
                answer = await in_thread(self._client.get_secret_value, SecretId=self._secret_id)
            self._secrets = Secrets.parse(answer.get("SecretString", ""))
        except (TimeoutError, Unavailable) as error:
            if self._secrets is None:
                raise Unavailable(f"the secret can't be fetched: {error or 'timeout'}") from error
        self._refresh_at_ms = self._clock.monotonic_ms() + CACHED_MS
