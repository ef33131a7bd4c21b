"""What `sam build` makes: for the right machine, and it works in Lambda's own runtime."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra import ROOT
from tests.system import rie
from tests.system.machine import whole_machine
from tests.system.stack import NO_FAULTS, RunningStack, running_stack
from tests.system.template import FUNCTIONS, TEMPLATE, properties

pytestmark = pytest.mark.integration

EVENTS = ROOT / "infra" / "events"
LAMBDA_PYTHON = TEMPLATE["Globals"]["Function"]["Runtime"].removeprefix("python")
ELF_MACHINES = {"x86_64": 62, "aarch64": 183}  # e_machine, at byte 18
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
NOT_FOR_A_BUILT_ONE = {"PYTHONPATH"}  # it brings its packages


@pytest.mark.parametrize("machine", ELF_MACHINES)
@pytest.mark.parametrize("function", FUNCTIONS.values())
def test_every_library_is_for_the_architecture(function: str, machine: str, tmp_path: Path) -> None:
    """A library for another machine would fail at the first call on AWS, and nowhere before."""
    built = rie.build(function, tmp_path / function, version=LAMBDA_PYTHON, machine=machine)
    libraries = list(built.rglob("*.so"))
    machines = {int.from_bytes(path.read_bytes()[18:20], "little") for path in libraries}
    assert machines <= {ELF_MACHINES[machine]}
    assert libraries or function == "ProcessorFunction"  # that one has nothing compiled


@pytest.mark.parametrize("package", FUNCTIONS)
def test_everything_is_compiled(package: str, builds: dict[str, Path]) -> None:
    """Lambda's folder is read-only: without its byte code a module is compiled at each start."""
    sources = {path for path in builds[package].rglob("*.py") if "tests" not in path.parts}
    compiled = {importlib.util.cache_from_source(str(path)) for path in sources}
    assert compiled == {name for name in compiled if Path(name).is_file()}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    settings = {"UPSTREAM_LIMIT": "1", "UPSTREAM_WINDOW_SECONDS": "2", **NO_FAULTS}
    with running_stack(tmp_path_factory.mktemp("stack"), **settings) as running:
        yield running


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("built")
    return {package: rie.build(name, folder / name, version=HERE) for package, name in FUNCTIONS.items()}


def event(name: str) -> bytes:
    return (EVENTS / f"{name}.json").read_bytes()


@pytest.fixture
def invoke(stack: RunningStack, builds: dict[str, Path], tmp_path: Path) -> Any:
    """Invoke a function with some events, with the variables that its deployed twin has."""

    def invoke_all(package: str, *names: str) -> list[Any]:
        function = FUNCTIONS[package]
        configuration = stack.session.client("lambda").get_function_configuration(
            FunctionName=stack.resources[function]
        )
        variables = configuration["Environment"]["Variables"] | {
            "AWS_ENDPOINT_URL": stack.stack.settings.aws_url
        }
        for name in NOT_FOR_A_BUILT_ONE:
            variables.pop(name, None)
        handler = properties(function)["Handler"]
        with rie.running(builds[package], handler, variables, tmp_path) as running, whole_machine():
            return [running.invoke(event(name)) for name in names]

    if rie.emulator() is None:
        pytest.skip("`make tools` installs Lambda's runtime interface emulator")
    return invoke_all


def test_the_api_answers_each_kind_of_request(invoke: Any) -> None:
    """Built and in Lambda's runtime it answers as the contract says, with the request id and the status."""
    expected = {
        "api-health": {200},
        "api-root": {200},
        "api-sign": {200, 429, 502, 504},
        "api-sign-webhook": {200, 202},
        "api-sign-bad-key": {401},
        "api-sign-no-message": {422},
        "api-status": {404},
    }
    answers = dict(zip(expected, invoke("api", *expected), strict=True))
    for name, answer in answers.items():
        assert answer["statusCode"] in expected[name], answer
        body = json.loads(answer["body"])  # text, not base64
        assert body["status"] == answer["statusCode"]
        assert body["request_id"]


def test_the_processor_makes_a_run(invoke: Any) -> None:
    """By the schedule or a wake-up; a message that nobody can read is told by its id."""
    (scheduled,) = invoke("processor", "processor-schedule")
    assert scheduled["batchItemFailures"] == []
    (woken,) = invoke("processor", "processor-wake-up")
    failed = [row["itemIdentifier"] for row in woken["batchItemFailures"]]
    assert failed == ["00000000-0000-0000-0000-000000000002"]


def test_the_notifier_fails_a_record_at_a_time(invoke: Any) -> None:
    """A notification of nothing is dropped; one that cannot be read comes again, to end as a dead letter."""
    (result,) = invoke("notifier", "notifier-batch")
    failed = [row["itemIdentifier"] for row in result["batchItemFailures"]]
    assert failed == ["00000000-0000-0000-0000-000000000002"]
