"""What Lambda says is deployed now."""

from typing import Any

import pytest

from adapters.deployment import LambdaDeployment
from core.errors import Unavailable
from core.window import Limits

VARIABLES = {"UPSTREAM_URL": "https://upstream", "UPSTREAM_LIMIT": "5", "UPSTREAM_WINDOW_SECONDS": "90"}


class Lambda:
    """A boto3 client that answers for one function."""

    def __init__(self, request_id: str, environment: dict[str, Any] | None = None) -> None:
        self._request_id = request_id
        self._environment = {"Variables": VARIABLES} if environment is None else environment

    def get_function_configuration(self, **arguments: Any) -> dict[str, Any]:
        assert arguments == {"FunctionName": "processor"}
        return {
            "ResponseMetadata": {"RequestId": self._request_id},
            "Environment": self._environment,
        }


async def test_the_limits_are_those_of_the_function_s_variables() -> None:
    """They are read as the function itself reads them at its start."""
    assert await LambdaDeployment(lambda: Lambda("1"), "processor").limits() == Limits(5, 90_000)


async def test_an_answer_that_is_not_lambda_s_says_nothing() -> None:
    """Like every failure it is `Unavailable`."""
    with pytest.raises(Unavailable):
        await LambdaDeployment(lambda: Lambda(""), "processor").limits()


@pytest.mark.parametrize("environment", [{"Error": {"ErrorCode": "AccessDenied"}}, {"Variables": {}}])
async def test_settings_that_cannot_be_read_end_no_run(environment: dict[str, Any]) -> None:
    """Variables under a key that we may not use, or of another version: the limits stand as they are."""
    with pytest.raises(Unavailable):
        await LambdaDeployment(lambda: Lambda("1", environment), "processor").limits()
