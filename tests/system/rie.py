"""AWS's own runtime around a built function, without Docker.

It is the interface emulator that `sam` ships, and `awslambdaric`: `make tools` installs both.

The function runs on the interpreter at hand, so it must be built for that; boto3 is the tools', as it is the
runtime's on AWS.
"""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from infra.local.processes import Child
from tests.system.stack import free_ports

TOOLS = Path(sys.prefix) / "tools"
MACHINES = {"x86_64": "x86_64", "aarch64": "arm64"}
INVOKE = "2015-03-31/functions/function/invocations"
START_LIMIT_S = 30
ANSWER_LIMIT_S = 120


def emulator() -> Path | None:
    """Return the emulator's program, if the tools are installed."""
    name = f"aws-lambda-rie-{MACHINES[platform.machine()]}"
    return next(TOOLS.glob(f"lib/python3*/site-packages/samcli/local/rapid/{name}"), None)


def build(function: str, target: Path, *, version: str, machine: str = platform.machine()) -> Path:
    """Build a function as `sam build` does, with the same make target."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    target.mkdir(parents=True)
    subprocess.run(  # noqa: S603 - our own make target
        [  # noqa: S607
            "make",
            "--silent",
            "--directory=functions",
            f"build-{function}",
            f"ARTIFACTS_DIR={target}",
            f"PYTHON_VERSION={version}",
            f"PLATFORM={machine}-manylinux_2_28",
        ],
        env={**os.environ, "PATH": path},
        check=True,
    )
    return target


class Running:
    """A function that waits for events."""

    def __init__(self, url: str) -> None:
        self._url = url

    def invoke(self, event: bytes) -> Any:
        """Return what the function returns; an error comes as its description."""
        return httpx.post(self._url, content=event, timeout=ANSWER_LIMIT_S, trust_env=False).json()


@contextmanager
def running(built: Path, handler: str, variables: Mapping[str, str], logs: Path) -> Iterator[Running]:
    """Run a built function with exactly these variables."""
    program = emulator()
    assert program is not None
    port, runtime_port, *_ = free_ports().values()
    packages = program.parents[3]
    command = [
        str(program),
        f"--runtime-interface-emulator-address=127.0.0.1:{port}",
        f"--runtime-api-address=127.0.0.1:{runtime_port}",
        str(TOOLS / "bin" / "python"),
        "-m",
        "awslambdaric",
        handler,
    ]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{built}{os.pathsep}{packages}",
        "LAMBDA_TASK_ROOT": str(built),
        "AWS_LAMBDA_FUNCTION_NAME": built.name,
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(ANSWER_LIMIT_S),
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",  # the emulated AWS asks for some
        "AWS_EC2_METADATA_DISABLED": "true",
        **variables,
    }
    program.chmod(0o755)
    child = Child.start(built.name, command, environment, logs)
    try:
        child.wait_until_answering(f"http://127.0.0.1:{port}/", START_LIMIT_S)
        yield Running(f"http://127.0.0.1:{port}/{INVOKE}")
    finally:
        child.ask_to_stop()
        child.end(2)
