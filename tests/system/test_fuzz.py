"""Whatever a caller sends, within the API's own description or against it, the answer is one it describes."""

import json
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import APIOperation, Case, CheckContext, GenerationMode, Response
from schemathesis.checks import CheckFunction
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.system.conftest import StartStack
from tests.system.stack import API_KEY, RunningStack

pytestmark = pytest.mark.integration

AnyCase = Case[Any]
AnyOperation = APIOperation[Any, Any, Any, Any]

# Webhooks of made-up requests go nowhere else; calls of the upstream come back soon.
FUZZED = {
    "WEBHOOK_ALLOW_HOSTS": "127.0.0.1",
    "UPSTREAM_WINDOW_SECONDS": "2",
    "UPSTREAM_TIMEOUT_SECONDS": "2",
}
EXAMPLES_OF_EACH = 10
INTERNAL_ERROR, UNAVAILABLE = 500, 503


def no_failure_of_ours(_context: CheckContext, response: Response, _case: AnyCase) -> None:
    """Never a 500; and who is told to come again is told when."""
    assert response.status_code != INTERNAL_ERROR
    if response.status_code == UNAVAILABLE:
        assert "retry-after" in response.headers


def has_an_id(_context: CheckContext, response: Response, _case: AnyCase) -> None:
    """Every answer in JSON names its request and its own status."""
    if "json" in response.headers.get("content-type", [""])[0] and response.status_code != httpx.codes.OK:
        body = json.loads(response.content)
        assert body["request_id"]
        assert body["status"] == response.status_code


CHECKS: list[CheckFunction] = [
    no_failure_of_ours,
    has_an_id,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


def operations(document: dict[str, Any]) -> list[AnyOperation]:
    """Return every operation of the description, which must be one."""
    found = list(schemathesis.openapi.from_dict(document).get_all_operations())
    assert all(isinstance(result, Ok) for result in found)
    return [result.ok() for result in found if isinstance(result, Ok)]


def takes_anything(operation: AnyOperation) -> bool:
    """Whether there is anything that could be sent wrongly."""
    return bool(list(operation.iter_parameters()) or list(operation.body))


@pytest.fixture(scope="module")
def fuzzed(module_stacks: StartStack) -> RunningStack:
    return module_stacks(**FUZZED)


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_answer_is_described(fuzzed: RunningStack, mode: GenerationMode) -> None:
    """No answer to anything has a status, type or shape that the description lacks, and none is a 500."""
    document: dict[str, Any] = httpx.get(f"{fuzzed.api_url}/openapi.json", trust_env=False).json()
    for operation in operations(document):
        if mode is GenerationMode.NEGATIVE and not takes_anything(operation):
            continue

        @seed(1)
        @settings(
            max_examples=EXAMPLES_OF_EACH,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def answers_as_described(case: AnyCase) -> None:
            case.call_and_validate(
                base_url=fuzzed.api_url, headers={"Authorization": API_KEY}, checks=CHECKS, timeout=10
            )

        answers_as_described()
