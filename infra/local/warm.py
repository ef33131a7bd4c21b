"""Starts workers of all three functions before the first request."""

import asyncio
import json
from collections.abc import Mapping

import httpx

from infra.local.aws import AwsSession
from infra.local.deploy import Deployment
from infra.local.processes import StackError

WARM_LIMIT_S = 60.0
TRIES_MAX = 3  # for a function that was just changed, or a busy machine
PAUSE_S = 1.0
# Workers that start at once can be too slow to check every dependency, and answer 503. They run, though.
RUNNING = frozenset({httpx.codes.OK, httpx.codes.SERVICE_UNAVAILABLE})


async def warm(session: AwsSession, deployment: Deployment, workers: int) -> None:
    """Start this many API workers, one notifier, and a processor run that continues with what is due."""
    await asyncio.gather(
        _warm_api(deployment.api_url, workers),
        asyncio.to_thread(_invoke, session, deployment.resources),
    )


def _invoke(session: AwsSession, resources: Mapping[str, str]) -> None:
    client = session.client("lambda")
    client.invoke(FunctionName=resources["ProcessorFunction"], InvocationType="Event")
    client.invoke(FunctionName=resources["NotifierFunction"], Payload=json.dumps({"Records": []}))


async def _warm_api(api_url: str, workers: int) -> None:
    """Start this many workers: each concurrent request takes one, so the requests are sent at once.

    A worker belongs to its request from the moment that arrives, long before the worker has started.
    """
    limits = httpx.Limits(max_connections=workers)
    async with httpx.AsyncClient(timeout=WARM_LIMIT_S, limits=limits, trust_env=False) as client:
        for _ in range(TRIES_MAX):
            requests = [client.get(f"{api_url}/health", params={"warm": "1"}) for _ in range(workers)]
            statuses = {response.status_code for response in await asyncio.gather(*requests)}
            if statuses <= RUNNING:
                return
            await asyncio.sleep(PAUSE_S)
    raise StackError(f"the API function does not start (status {max(statuses)}): see the emulator's log")
