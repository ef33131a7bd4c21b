"""Lambda's runtime without Docker: the runtime interface emulator of the SAM CLI, and awslambdaric.

What is installed is kept beside the virtual environment. `LAMBDA_PYTHON` names the interpreter to use and
`LAMBDA_RIE` the emulator, where they are not to be looked for.
"""

import base64
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[1]
FUNCTIONS = ROOT / "functions"
KEPT = Path(sys.prefix)
LAMBDA_VERSION = "3.13"
PACKAGES = ("awslambdaric==4.2.2", "boto3")
"""What Lambda's own runtime has: a function does not bring them."""
SAM = "aws-sam-cli==1.170.0"
START_LIMIT_S = 10.0
POLL_S = 0.005
ENVIRONMENT = {
    "UPSTREAM_URL": "http://127.0.0.1:9",
    "TABLE_NAME": "table",
    "WINDOW_TABLE_NAME": "window",
    "SECRET_ID": "secret",
    "WORK_QUEUE_URL": "http://127.0.0.1:9/queue",
    "WORK_DEAD_LETTER_QUEUE_URL": "http://127.0.0.1:9/dead-letters",
    "NOTIFICATION_QUEUE_URL": "http://127.0.0.1:9/notifications",
    "NOTIFICATION_RETRY_QUEUE_URL": "http://127.0.0.1:9/retries",
    "NOTIFICATION_DEAD_LETTER_QUEUE_URL": "http://127.0.0.1:9/dead-notifications",
    "PROCESSOR_FUNCTION_NAME": "processor",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_LAMBDA_FUNCTION_NAME": "function",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_FUNCTION_TIMEOUT": "15",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "896",
    "LANG": "en_US.UTF-8",
    "PATH": os.defpath,
}


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python that functions run on here."""

    path: str
    version: str

    @property
    def is_lambdas(self) -> bool:
        """Whether it is the version of the template."""
        return self.version == LAMBDA_VERSION

    @classmethod
    def find(cls) -> "Interpreter":
        """Return Lambda's version where there is one, else the interpreter that runs this."""
        named = [os.environ["LAMBDA_PYTHON"]] if "LAMBDA_PYTHON" in os.environ else []
        on_path = shutil.which(f"python{LAMBDA_VERSION}")
        of_pyenv = sorted(Path.home().glob(f".pyenv/versions/{LAMBDA_VERSION}*/bin/python{LAMBDA_VERSION}"))
        for candidate in [*named, *([on_path] if on_path else []), *map(str, of_pyenv), sys.executable]:
            version = _version(candidate)
            if version in {LAMBDA_VERSION, _version(sys.executable)} or candidate in named:
                return cls(candidate, version)
        raise RuntimeError("no interpreter")


def _version(python: str) -> str:
    show = "import sys; print('%d.%d' % sys.version_info[:2])"
    answer = subprocess.run([python, "-c", show], capture_output=True, text=True, check=False)  # noqa: S603
    return answer.stdout.strip()


def emulator() -> str:
    """Return the path of the runtime interface emulator; the SAM CLI brings it."""
    if named := os.environ.get("LAMBDA_RIE"):
        return named
    folder = KEPT / "sam"
    name = "aws-lambda-rie-" + {"aarch64": "arm64"}.get(platform.machine(), "x86_64")
    pattern = f"lib/python3*/site-packages/samcli/local/rapid/{name}"
    if not list(folder.glob(pattern)):
        uv("venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
        uv("pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), SAM)
    return str(next(folder.glob(pattern)))


def runtime_packages(python: Interpreter) -> Path:
    """Return the folder of the packages that Lambda has by itself."""
    folder = KEPT / f"lambda-{python.version}"
    if not folder.exists():
        install(python, folder, *PACKAGES)
    return folder


def install(python: Interpreter, folder: Path, *what: str) -> None:
    """Install packages into a folder, with byte code."""
    options = ["--quiet", "--compile-bytecode", "--python", python.path, "--target", str(folder)]
    uv("pip", "install", *options, *what)


def uv(*arguments: str, **environment: str) -> None:
    """Run uv."""
    command = [sys.executable, "-m", "uv", *arguments]
    subprocess.run(command, check=True, env={**os.environ, **environment})  # noqa: S603


def build(python: Interpreter, function: str, folder: Path) -> None:
    """Build a function as `sam build` does; for another Python than Lambda's, with that one's packages."""
    folder.mkdir(parents=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where uv is
    compiler = python.path if python.is_lambdas else ""
    command = [
        "make",
        "--silent",
        f"build-{function}",
        f"ARTIFACTS_DIR={folder}",
        f"RUNTIME_PYTHON={compiler}",
    ]
    subprocess.run(command, cwd=FUNCTIONS, check=True, env={**os.environ, "PATH": path})  # noqa: S603
    if not python.is_lambdas:
        package = function.removesuffix("Function").lower()
        install(python, folder, "--upgrade", "-r", str(FUNCTIONS / package / "requirements.txt"))


class Instance:
    """One function in the runtime, cold until it is invoked."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self._process = process
        self._url = url
        self._client = httpx.Client(timeout=30, trust_env=False)

    def invoke(self, path: str) -> tuple[float, dict[str, Any]]:
        """Send one request as the gateway does; return how long it took, in ms, and the answer."""
        body = json.dumps(event(path))
        started_s = time.perf_counter()
        answer = self._client.post(self._url, content=body)
        return (time.perf_counter() - started_s) * 1000, answer.json()

    def peak_mb(self) -> float:
        """Return the most memory that the function's process has had."""
        lines = Path(f"/proc/{self._runtime()}/status").read_text().splitlines()
        (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
        return int(peak) / 1024

    def cpu_ms(self) -> float:
        """Return the processor time that the function's process has used."""
        fields = Path(f"/proc/{self._runtime()}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")

    def _runtime(self) -> str:
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task").glob("*/children")
        return " ".join(path.read_text() for path in children).split()[0]


@contextmanager
def started(
    python: Interpreter, handler: str, path: str, environment: Mapping[str, str] | None = None
) -> Iterator[Instance]:
    """Have the emulator wait for the first request; it starts the function's process only then."""
    ports = [_free_port() for _ in range(2)]
    command = [emulator(), "--log-level", "error"]
    command += ["--runtime-interface-emulator-address", f"127.0.0.1:{ports[0]}"]
    command += ["--runtime-api-address", f"127.0.0.1:{ports[1]}"]
    command += [python.path, "-m", "awslambdaric", handler]
    process = subprocess.Popen(  # noqa: S603
        command,
        env={**ENVIRONMENT, **(environment or {}), "PYTHONPATH": path, "_HANDLER": handler},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_for(ports[0])
        yield Instance(process, f"http://127.0.0.1:{ports[0]}/2015-03-31/functions/function/invocations")
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def event(path: str) -> dict[str, Any]:
    """Return what the REST gateway sends for a GET."""
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": "GET",
        "headers": {"Host": "api.example"},
        "multiValueHeaders": {"Host": ["api.example"]},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "requestContext": {
            "httpMethod": "GET",
            "path": path,
            "stage": "prod",
            "requestTimeEpoch": int(time.time() * 1000),
            "identity": {"sourceIp": "127.0.0.1"},
        },
        "body": None,
        "isBase64Encoded": False,
    }


def body_of(answer: Mapping[str, Any]) -> Any:
    """Return the JSON body of a function's answer."""
    text = answer["body"]
    return json.loads(base64.b64decode(text) if answer.get("isBase64Encoded") else text)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _wait_for(port: int) -> None:
    end_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end_s:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(POLL_S)
        else:
            return
    raise RuntimeError("the runtime emulator does not start")
