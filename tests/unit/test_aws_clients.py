"""The SDK's clients: whom they trust, and in which threads they work."""

import asyncio
import ssl
import threading

import pytest

from adapters import aws
from adapters.aws import ROOTS
from adapters.clock import SystemClock
from adapters.upstream import HttpUpstream
from core.answers import Meaning
from infra.amazon_roots import LABELS, bundle

CALL_LIMIT_MS = 50
LOOKUPS = 200


def test_the_roots_are_certifi_s() -> None:
    """Amazon Trust Services' authorities, byte for byte; `python -m infra.amazon_roots` writes them anew."""
    assert ROOTS.read_text() == bundle()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ROOTS)
    assert len(context.get_ca_certs()) == len(LABELS)


@pytest.mark.parametrize(
    ("region", "environment", "amazon_s"),
    [
        ("eu-central-1", {}, True),
        ("us-gov-west-1", {}, True),
        ("cn-north-1", {}, False),
        ("eu-central-1", {"AWS_CA_BUNDLE": "/etc/ssl/proxy.pem"}, False),
        ("eu-central-1", {"AWS_ENDPOINT_URL": "https://localhost:4566"}, False),
        ("local", {"AWS_ENDPOINT_URL": "http://localhost:4566"}, False),
        ("eu-central-1", {"AWS_ENDPOINT_URL_SQS": "https://localhost:4566"}, False),
    ],
)
def test_only_aws_itself_is_judged_by_amazon_s_roots(
    monkeypatch: pytest.MonkeyPatch, region: str, environment: dict[str, str], *, amazon_s: bool
) -> None:
    """China's regions have other authorities; an emulator and the user's own bundle are left to the SDK."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    client = aws.clients(environment, aws.config(attempts=1))("dynamodb")
    verify = client._endpoint.http_session._verify  # noqa: SLF001 - what the SDK verifies with
    assert (verify == str(ROOTS)) is amazon_s


async def test_a_name_that_hangs_stops_no_other_work() -> None:
    """Names are looked up in threads of their own: AWS is called meanwhile, the upstream is not."""
    hangs = threading.Event()
    loop = asyncio.get_running_loop()
    lookups = [loop.run_in_executor(None, hangs.wait) for _ in range(LOOKUPS)]
    upstream = HttpUpstream("http://localhost:1", lambda: "key", SystemClock(), grace_ms=10_000)
    try:
        call = await upstream.sign("hello", call_limit_ms=CALL_LIMIT_MS, may_send=lambda: True)
        async with asyncio.timeout(5):
            answer = await aws.in_thread(lambda: {"ResponseMetadata": {"RequestId": "1"}})
    finally:
        hangs.set()
        await asyncio.gather(*lookups)
        await upstream.aclose()
    assert (call.meaning, call.reason) == (Meaning.NEVER_SENT, "TimeoutError")
    assert answer["ResponseMetadata"]["RequestId"] == "1"
