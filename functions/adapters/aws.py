"""boto3 clients with short time-outs, called from asyncio through threads."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from core.errors import Unavailable

CONNECT_TIMEOUT_S = 0.3
READ_TIMEOUT_S = 0.7
THREADS = 32


def event_loop() -> asyncio.AbstractEventLoop:
    """Return a loop for the life of a Lambda instance, so that connections are kept between invocations.

    It has many threads, because a client call that hangs keeps its thread until the client's time-out.
    """
    loop = asyncio.new_event_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS))
    asyncio.set_event_loop(loop)  # where Mangum looks for it
    return loop


def session() -> boto3.session.Session:
    """Return a session; one per function, because its clients share data that is slow to load."""
    return boto3.session.Session()


def config(*, attempts: int, read_timeout_s: float = READ_TIMEOUT_S) -> Config:
    """Return a client configuration: few, short tries; the SDK's own defaults would retry for 25 s."""
    return Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=read_timeout_s,
        retries={"total_max_attempts": attempts, "mode": "standard"},
        max_pool_connections=THREADS,
        tcp_keepalive=True,
    )


def error_code(error: ClientError) -> str:
    """Return the service's own name for an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


async def in_thread(call: Callable[..., Any], /, *, keep: frozenset[str] = frozenset(), **kwargs: Any) -> Any:
    """Make a blocking client call in a thread.

    Raises `Unavailable` for every error, except for a `ClientError` with a code in `keep`.
    """
    try:
        return _genuine(await asyncio.to_thread(call, **kwargs))
    except ClientError as error:
        if error_code(error) in keep:
            raise
        raise Unavailable(f"{error.operation_name}: {error_code(error)}") from error
    except (BotoCoreError, ValueError) as error:  # ValueError: an answer that is no text, or no JSON
        raise Unavailable(type(error).__name__) from error


def _genuine(answer: Any) -> Any:
    """Return the answer if an AWS service sent it; raises `Unavailable` if something else did.

    The SDK takes every 200 as success, also one from a proxy in between. Then a request would be accepted but
    not stored, or a slot used but not taken.
    """
    if not answer["ResponseMetadata"].get("RequestId"):
        raise Unavailable("an answer without a request id: it is not from AWS")
    return answer
