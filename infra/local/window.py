"""Prepares the window when a local stack starts."""

import asyncio
import time
from typing import Any

import httpx

from adapters.dynamodb_window import DynamoWindowStore
from core import window as windows
from core.config import CallSettings
from core.gate import Gate
from infra.local.aws import AwsSession
from infra.local.settings import LocalSettings


def prepare_window(session: AwsSession, table: str, settings: LocalSettings, *, clean: bool) -> str:
    """Prepare the window before the first call; return a line that says when that call is allowed.

    `clean`: the last stop, if there was one, lost no write. Without knowledge of earlier calls the window
    starts full: after an unclean stop, the window's own last writes may be lost.
    """
    client = session.client("dynamodb")
    quiet = clean and _upstream_is_quiet(settings)
    return asyncio.run(_prepare(client, table, settings.calls, clean=clean, upstream_quiet=quiet))


def _upstream_is_quiet(settings: LocalSettings) -> bool:
    """Whether the upstream certainly had no call within a window. Only the stand-in knows."""
    if not settings.uses_stand_in:
        return False
    stats = httpx.get(f"{settings.calls.url}/_stats", trust_env=False).json()
    since_s = time.time() - settings.calls.limits.window_ms / 1000
    return all(arrival["t"] < since_s for arrival in stats["arrivals"])


async def _prepare(client: Any, table: str, calls: CallSettings, *, clean: bool, upstream_quiet: bool) -> str:
    now_ms = time.time_ns() // 1_000_000
    free_at_ms = now_ms + calls.timing.lease_ms(calls.call_limit_ms, calls.limits.window_ms)
    full = Gate(windows.full(calls.limits, free_at_ms))
    store = DynamoWindowStore(client, table, lambda: full)
    if not clean:
        await store.overwrite(full)
        return _starts_full(free_at_ms - now_ms, "the last stop was not clean")
    if upstream_quiet and await store.create(Gate(windows.empty(calls.limits))):
        return "The window starts empty: the first call may be made at once."
    window = (await store.read()).window
    if windows.wants_deployed(window, calls.limits):
        calls_max, window_ms = calls.limits.calls, calls.limits.window_ms
        if change := windows.change_limits(window, calls_max, window_ms, deployed=True):
            await store.apply(change)
            window = (await store.read()).window
    if window == full.window:
        return _starts_full(free_at_ms - now_ms, "nothing is known of earlier calls")
    return (
        f"The window goes on where it was: {window.free_slots(now_ms)} of {len(window.slots)} slots are free."
    )


def _starts_full(wait_ms: int, why: str) -> str:
    return f"The window starts full, because {why}: the first call may be made in {wait_ms / 1000:.0f} s."
