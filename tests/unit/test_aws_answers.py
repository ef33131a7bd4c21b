"""What the AWS clients answer is believed only if an AWS service said it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from adapters.aws import in_thread
from core.errors import Unavailable

GENUINE = {"Item": {}, "ResponseMetadata": {"RequestId": "an id", "HTTPStatusCode": 200}}
STRAY = {"ResponseMetadata": {"HTTPStatusCode": 200}}


def raising(error: Exception) -> Callable[[], Any]:
    def call() -> Any:
        raise error

    return call


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}}, "PutItem")


def test_a_genuine_answer_is_returned() -> None:
    """It carries a request id."""
    assert asyncio.run(in_thread(lambda: GENUINE)) == GENUINE


def test_a_stray_200_is_no_success() -> None:
    """The SDK takes a captive portal's page for an empty success: believed, it would lose a request."""
    with pytest.raises(Unavailable, match="not from AWS"):
        asyncio.run(in_thread(lambda: STRAY))


@pytest.mark.parametrize(
    "error",
    [
        client_error("ThrottlingException"),
        ReadTimeoutError(endpoint_url="http://database"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ],
    ids=["refused", "timed out", "garbage"],
)
def test_every_failure_is_one_error(error: Exception) -> None:
    """Whatever goes wrong with a call is `Unavailable`, which callers of ports know to expect."""
    with pytest.raises(Unavailable):
        asyncio.run(in_thread(raising(error)))


def test_an_expected_refusal_passes() -> None:
    """A condition that failed is an answer, and its item comes with it."""
    with pytest.raises(ClientError):
        asyncio.run(in_thread(raising(client_error("A")), keep=frozenset({"A"})))
