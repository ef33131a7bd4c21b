"""Starts API workers ahead of the first caller."""

import asyncio

import httpx

WARM_LIMIT_S = 60.0


async def warm(api_url: str, workers: int) -> None:
    """Have so many workers running: each concurrent request takes one, so they are all asked at once.

    A worker belongs to its request from the moment that arrives, long before the worker has started.
    """
    limits = httpx.Limits(max_connections=workers)
    async with httpx.AsyncClient(timeout=WARM_LIMIT_S, limits=limits, trust_env=False) as client:
        requests = [client.get(f"{api_url}/health", params={"warm": "1"}) for _ in range(workers)]
        for response in await asyncio.gather(*requests):
            response.raise_for_status()
