"""boto3 clients with short time-outs, called from asyncio through threads."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from core.errors import Unavailable

CONNECT_TIMEOUT_S = 0.3
READ_TIMEOUT_S = 0.7
THREADS = 32
NAME_LOOKUPS_MAX = 100
"""As many as upstream calls at a time."""
ROOTS = Path(__file__).with_name("amazon_roots.pem")
"""The certificate authorities of AWS's own endpoints: `python -m infra.amazon_roots` writes them."""
PARTITIONS_OF_ROOTS = frozenset({"aws", "aws-us-gov"})

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="aws")
"""For client calls only. A call that hangs keeps its thread until the client's time-out."""


def event_loop() -> asyncio.AbstractEventLoop:
    """Return a loop for the life of a Lambda instance, so that connections are kept between invocations.

    The upstream's name is looked up in the loop's own threads, because a name that hangs keeps its thread.
    """
    loop = asyncio.new_event_loop()
    loop.set_default_executor(ThreadPoolExecutor(NAME_LOOKUPS_MAX, thread_name_prefix="names"))
    asyncio.set_event_loop(loop)  # where Mangum looks for it
    return loop


def clients(environment: Mapping[str, str], config: Config) -> Callable[[str], Any]:
    """Return a function that creates the client of a service, given its name."""
    session = boto3.session.Session()  # one per function: its clients share data that is slow to load
    roots = _roots(session, environment)
    return lambda service: session.client(service, config=config, verify=roots)  # type: ignore[call-overload]


def _roots(session: boto3.session.Session, environment: Mapping[str, str]) -> str | None:
    """Return the certificate authorities for AWS's own endpoints; None leaves the choice to the SDK.

    The SDK loads certifi's whole bundle for each new connection: 17 ms of processor time, with these 0.4 ms.
    """
    if any(name.startswith(("AWS_CA_BUNDLE", "AWS_ENDPOINT_URL")) for name in environment):
        return None
    partition = session.get_partition_for_region(session.region_name or "us-east-1")
    return str(ROOTS) if partition in PARTITIONS_OF_ROOTS else None


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
        loop = asyncio.get_running_loop()
        return _genuine(await loop.run_in_executor(_threads, partial(call, **kwargs)))
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
