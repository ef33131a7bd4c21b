"""What Lambda says is deployed now."""

from typing import Any

import pytest

from adapters.deployment import LambdaDeployment
from core.errors import Unavailable
from core.window import Limits

VARIABLES = {"UPSTREAM_URL": "https://upstream", "UPSTREAM_LIMIT": "5", "UPSTREAM_WINDOW_SECONDS": "90"}


class Lambda:
    """A boto3 client that answers for one function."""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id

    def get_function_configuration(self, **arguments: Any) -> dict[str, Any]:
        assert arguments == {"FunctionName": "processor"}
        return {
            "ResponseMetadata": {"RequestId": self._request_id},
            "Environment": {"Variables": VARIABLES},
        }


async def test_the_limits_are_those_of_the_function_s_variables() -> None:
    """They are read as the function itself reads them at its start."""
    assert await LambdaDeployment(lambda: Lambda("1"), "processor").limits() == Limits(5, 90_000)


async def test_an_answer_that_is_not_lambda_s_says_nothing() -> None:
    """Like every failure it is `Unavailable`."""
    with pytest.raises(Unavailable):
        await LambdaDeployment(lambda: Lambda(""), "processor").limits()
