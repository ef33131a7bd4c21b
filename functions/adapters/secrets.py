"""The service's secret, from Secrets Manager, cached."""

import asyncio
from collections.abc import Callable
from typing import Any

from adapters.aws import in_thread
from core.errors import SettingError, Unavailable
from core.secrets import Secrets
from ports import Clock

CACHED_MS = 300_000
STALE_MS_MAX = 3_600_000
"""For how long a secret is used while it can't be fetched again; a revoked key must stop working."""
FETCH_LIMIT_MS = 500


def parse_and_check(text: str) -> Secrets:
    """Parse the secret, and check that the halves of each signing key belong together.

    Raises `SettingError`. The tools that write the secret use it, and the notifier, which signs with it.
    """
    found = Secrets.parse(text)
    check_signing_keys(found)
    return found


def check_signing_keys(found: Secrets) -> None:
    """Raise `SettingError` if a signing key's public half is not that of its seed."""
    if found.signing_keys:
        from adapters.ed25519 import signer  # noqa: PLC0415 - `cryptography` is slow to load

        for key in found.signing_keys:
            signer(key)


class SecretsManager:
    """Fetches the secret and keeps it for five minutes; while a refresh fails, for an hour."""

    def __init__(
        self,
        client: Any,
        secret_id: str,
        clock: Clock,
        parse: Callable[[str], Secrets] = Secrets.parse,
    ) -> None:
        self._client = client
        self._secret_id = secret_id
        self._clock = clock
        self._parse = parse
        self._secrets: Secrets | None = None
        self._refresh_at_ms = 0
        self._fetched_at_ms = 0

    async def get(self) -> Secrets:
        """Return the secret; raises `Unavailable` if it could not be fetched for an hour."""
        if self._secrets is None or self._clock.monotonic_ms() >= self._refresh_at_ms:
            await self._refresh()
        return self.current()

    def current(self) -> Secrets:
        """Return the secret as it was last fetched."""
        if self._secrets is None:
            raise Unavailable("there is no secret that may be used")
        return self._secrets

    def expire(self) -> None:
        """Fetch the secret again at its next use: the upstream refused its key, which may have changed."""
        self._refresh_at_ms = 0

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(FETCH_LIMIT_MS / 1000):
                answer = await in_thread(self._client.get_secret_value, SecretId=self._secret_id)
            self._secrets = self._parse(answer.get("SecretString", ""))
            self._fetched_at_ms = self._clock.monotonic_ms()
        except SettingError as error:
            self._keep_or_raise(f"the secret is unusable, see docs/deploy.md: {error}")
        except (TimeoutError, Unavailable) as error:
            self._keep_or_raise(f"the secret can't be fetched: {error or 'timeout'}")
        self._refresh_at_ms = self._clock.monotonic_ms() + CACHED_MS

    def _keep_or_raise(self, reason: str) -> None:
        """Keep the secret that was fetched last; raises `Unavailable` if there is none or it is too old."""
        if self._clock.monotonic_ms() - self._fetched_at_ms > STALE_MS_MAX:
            self._secrets = None
        if self._secrets is None:
            raise Unavailable(reason)
