"""Starts workers of all three functions ahead of the first caller."""

import asyncio
import json
from collections.abc import Mapping

import httpx

from infra.local.aws import AwsSession
from infra.local.deploy import Deployment
from infra.local.processes import StackError

WARM_LIMIT_S = 60.0
TRIES_MAX = 3  # a function that has just been changed, or a busy machine
PAUSE_S = 1.0
# Many that start at once are too slow to ask every part in time, and then say 503: they run, though.
RUNNING = frozenset({httpx.codes.OK, httpx.codes.SERVICE_UNAVAILABLE})


async def warm(session: AwsSession, deployment: Deployment, workers: int) -> None:
    """Have so many API workers running, one notifier, and a processor run that goes on with what is due."""
    await asyncio.gather(
        _warm_api(deployment.api_url, workers),
        asyncio.to_thread(_invoke, session, deployment.resources),
    )


def _invoke(session: AwsSession, resources: Mapping[str, str]) -> None:
    client = session.client("lambda")
    client.invoke(FunctionName=resources["ProcessorFunction"], InvocationType="Event")
    client.invoke(FunctionName=resources["NotifierFunction"], Payload=json.dumps({"Records": []}))


async def _warm_api(api_url: str, workers: int) -> None:
    """Have so many workers running: each concurrent request takes one, so they are all asked at once.

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
