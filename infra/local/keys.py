"""The keys that a local stack makes at its first start, in files that only their owner can read."""

import base64
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from adapters import ed25519

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that sign webhooks and status tokens, and the file with the receivers' secret."""

    webhook_secret: str = field(repr=False)
    webhook_secret_file: Path
    signing_key: str = field(repr=False)
    token_key: str = field(repr=False)

    @property
    def public_key(self) -> str:
        """The public key that verifies the signing key's signatures."""
        return ed25519.public_key(self.signing_key)

    @classmethod
    def load(cls, folder: Path, webhook_secret: str | None) -> Self:
        """Read the keys, and make missing ones. The settings' webhook secret replaces the stored one."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        webhook_secret_file = folder / "webhook_secret"
        if webhook_secret is not None:
            _write(webhook_secret_file, webhook_secret)
        return cls(
            webhook_secret=_read_or_make(webhook_secret_file, new_webhook_secret),
            webhook_secret_file=webhook_secret_file,
            signing_key=_read_or_make(folder / "signing_key", ed25519.generate_private_key),
            token_key=_read_or_make(folder / "token_key", new_token_key),
        )


def new_webhook_secret() -> str:
    """Return a secret to sign webhooks with."""
    return f"whsec_{_random_base64()}"


def new_token_key() -> str:
    """Return a key to sign status tokens with."""
    return _random_base64()


def _random_base64() -> str:
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def _read_or_make(file: Path, make: Callable[[], str]) -> str:
    if not file.is_file():
        _write(file, make())
    return file.read_text().strip()


def _write(file: Path, text: str) -> None:
    """Write a file atomically. Other users can read it at no time."""
    unfinished = file.with_suffix(".tmp")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text + "\n")
    unfinished.replace(file)
