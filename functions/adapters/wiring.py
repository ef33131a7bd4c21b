"""The wiring that the API and the processor share."""

from typing import Any

from adapters.dynamodb_window import DynamoWindowStore
from adapters.secrets import SecretsManager
from adapters.upstream import HttpUpstream
from core import window as windows
from core.config import CallSettings
from core.gate import Gate
from ports import Clock


def window_store(client: Any, table: str, calls: CallSettings, clock: Clock) -> DynamoWindowStore:
    """Return the store. A missing window is created full: earlier calls are not known."""
    lease_ms = calls.timing.lease_ms(calls.call_limit_ms, calls.limits.window_ms)
    return DynamoWindowStore(
        client, table, lambda: Gate(windows.full(calls.limits, clock.now_ms() + lease_ms))
    )


def upstream(calls: CallSettings, secrets: SecretsManager, clock: Clock) -> HttpUpstream:
    """Return the upstream. If it refuses the key, the secret is fetched again."""
    return HttpUpstream(
        calls.url,
        lambda: secrets.current().upstream_key,
        clock,
        secrets.expire,
        grace_ms=calls.timing.grace_ms,
    )
