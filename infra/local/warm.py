"""Starts API workers ahead of the first caller."""

import asyncio

import httpx

from infra.local.processes import StackError

WARM_LIMIT_S = 60.0


async def warm(api_url: str, workers: int) -> None:
    """Have so many workers running: each concurrent request takes one, so they are all asked at once.

    A worker belongs to its request from the moment that arrives, long before the worker has started.
    """
    limits = httpx.Limits(max_connections=workers)
    async with httpx.AsyncClient(timeout=WARM_LIMIT_S, limits=limits, trust_env=False) as client:
        requests = [client.get(f"{api_url}/health", params={"warm": "1"}) for _ in range(workers)]
        statuses = [response.status_code for response in await asyncio.gather(*requests)]
    # Many that start at once are too slow to ask every part in time, and then say 503: they run, though.
    failures = [
        status for status in statuses if status not in {httpx.codes.OK, httpx.codes.SERVICE_UNAVAILABLE}
    ]
    if failures:
        raise StackError(f"the API function does not start (status {failures[0]}): see the emulator's log")
