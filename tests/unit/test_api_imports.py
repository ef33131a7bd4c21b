"""What a cold start of the API loads: nothing that it does not ship, and little beyond its frameworks.

Counted in modules, not in milliseconds: a busy machine changes nothing about the answer.
"""

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FUNCTIONS = ROOT / "functions"
RATIO_MAX = 1.15
SDK = {"boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3"}
FORBIDDEN = {
    "aws_lambda_powertools", "cryptography", "dotenv", "email_validator", "jinja2", "multipart", "orjson",
    "pydantic_settings", "requests", "rich", "standardwebhooks", "typer", "uvicorn", "uvloop", "yaml",
}  # fmt: skip
ENVIRONMENT = {
    "UPSTREAM_URL": "https://upstream.example",
    "TABLE_NAME": "table",
    "WINDOW_TABLE_NAME": "window",
    "SECRET_ID": "secret",
    "WORK_QUEUE_URL": "https://sqs.example/queue",
    "WORK_DEAD_LETTER_QUEUE_URL": "https://sqs.example/dead-letters",
    "NOTIFICATION_QUEUE_URL": "https://sqs.example/notifications",
    "NOTIFICATION_DEAD_LETTER_QUEUE_URL": "https://sqs.example/dead-notifications",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
}
# Hides every distribution that the function does not have on Lambda, then tells what an import loads.
SHOW = """
import json, sys
from importlib.metadata import packages_distributions
module, shipped = sys.argv[1], set(json.loads(sys.argv[2]))
hidden = {name for name, owners in packages_distributions().items()
          if not shipped & {owner.lower().replace("_", "-") for owner in owners}}
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
before = set(sys.modules)
__import__(module)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def shipped() -> set[str]:
    """Return the distributions that the function has: its own, and those of Lambda's runtime."""
    lines = (FUNCTIONS / "api" / "requirements.txt").read_text()
    return set(re.findall(r"^([a-z0-9-]+)==", lines, re.MULTILINE)) | SDK


@cache
def loaded_by(module: str) -> frozenset[str]:
    """Return the modules that importing this one loads in a new process."""
    path = os.pathsep.join([str(FUNCTIONS), str(ROOT / "benchmarks")])
    answer = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", SHOW, module, json.dumps(sorted(shipped()))],
        env={**ENVIRONMENT, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return frozenset(json.loads(answer.stdout))


def test_pydantic_v1_stays_out() -> None:
    """FastAPI would load all of it for the first parameter that an endpoint declares."""
    assert not [name for name in loaded_by("api.handler") if name.startswith("pydantic.v1.")]


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_what_is_costly_stays_out(package: str) -> None:
    """A cold start is paid from the caller's two seconds: these packages are for others."""
    assert {name for name in loaded_by("api.handler") if name.partition(".")[0] == package} == set()


def test_no_package_beyond_the_bare_functions() -> None:
    """The API loads the same packages as the bare function: the comparison is a fair one."""
    ours = {path.stem for path in FUNCTIONS.iterdir()}
    packages = {
        module: {name.partition(".")[0] for name in loaded_by(module)} - set(sys.stdlib_module_names)
        for module in ("api.handler", "bare_function")
    }
    assert packages["api.handler"] - packages["bare_function"] <= ours


def test_little_is_loaded_beyond_the_bare_function() -> None:
    """Our own code included, an import of the API loads at most 1.15 times what a bare function does."""
    assert len(loaded_by("api.handler")) <= RATIO_MAX * len(loaded_by("bare_function"))


def test_an_import_starts_nothing() -> None:
    """No thread, no connection and no secret is in a snapshot: after a restore there is nothing to renew."""
    check = (
        "import threading, socket\n"
        "def refuse(*_): raise AssertionError('a connection at import')\n"
        "socket.socket.connect = refuse\n"
        "import api.handler\n"
        "assert threading.active_count() == 1\n"
    )
    answer = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", check],
        env={**ENVIRONMENT, "PYTHONPATH": str(FUNCTIONS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
