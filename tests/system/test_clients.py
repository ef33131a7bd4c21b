"""Clients from common generators, run against the service. `make clients` installs the generators."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra import ROOT
from infra.openapi import FILE
from tests.system.conftest import StartStack
from tests.system.stack import API_KEY, RunningStack

TOOLS = ROOT / ".venv" / "clients"
SCRIPTS = Path(__file__).parent / "clients"
LIMIT_S = 120
# No proxy between the clients and the stack; one generator wants the project's ruff.
DIRECT = {
    **{name: value for name, value in os.environ.items() if "PROXY" not in name.upper()},
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "REDOCLY_TELEMETRY": "off",
}

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not TOOLS.exists(), reason="the generators are not installed: make clients"),
]


def run(*command: str | Path, folder: Path, **environment: str) -> None:
    """Run a command in a folder; its output is told only if it fails."""
    answer = subprocess.run(  # noqa: S603 - our own tools
        command,
        cwd=folder,
        env={**DIRECT, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert answer.returncode == 0, f"{command}\n{answer.stdout[-4_000:]}\n{answer.stderr[-4_000:]}"


def generated(generator: str, folder: Path) -> None:
    """Let openapi-generator make a client."""
    tool = TOOLS / "bin" / "openapi-generator-cli"
    run(tool, "generate", "-i", FILE, "-g", generator, "-o", folder / generator, folder=folder)


@pytest.fixture(scope="module")
def service(module_stacks: StartStack) -> RunningStack:
    """Return a stack where `hello` is signed, `world` fails, and nothing more is called for an hour."""
    return module_stacks(UPSTREAM_LIMIT="2", UPSTREAM_WINDOW_SECONDS="3600")


@pytest.fixture
def arguments(service: RunningStack) -> list[str]:
    return [service.api_url, API_KEY, service.hook_url]


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """Return a folder with the scripts, where programs find the generators' packages."""
    shutil.copytree(SCRIPTS, tmp_path, dirs_exist_ok=True)
    (tmp_path / "node_modules").symlink_to(TOOLS / "node_modules")
    return tmp_path


def run_script(node: Path, name: str, arguments: list[str]) -> None:
    """Compile one script with all that it imports, strictly, and run it."""
    config = json.loads((node / "tsconfig.json").read_text()) | {"include": [f"{name}.ts"]}
    (node / "tsconfig.json").write_text(json.dumps(config))
    run("node_modules/.bin/tsc", "-p", ".", folder=node)
    run("node", f"built/{name}.js", *arguments, folder=node)


def test_the_document_follows_the_recommended_rules(node: Path) -> None:
    """Redocly's rules: no error."""
    run("node_modules/.bin/redocly", "lint", FILE, "--extends", "recommended", folder=node)


def test_openapi_python_client(tmp_path: Path, arguments: list[str]) -> None:
    """Answers and problems are typed, and nothing is left out."""
    tool = TOOLS / "bin" / "openapi-python-client"
    run(tool, "generate", "--path", FILE, "--output-path", "made", "--fail-on-warning", folder=tmp_path)
    script = SCRIPTS / "with_openapi_python_client.py"
    run(sys.executable, script, *arguments, folder=tmp_path, PYTHONPATH=str(tmp_path / "made"))


def test_openapi_generator_python(tmp_path: Path, arguments: list[str]) -> None:
    """The most used generator accepts the document; its client reads the 202."""
    generated("python", tmp_path)
    script = SCRIPTS / "with_openapi_generator.py"
    run(sys.executable, script, *arguments, folder=tmp_path, PYTHONPATH=str(tmp_path / "python"))


def test_openapi_generator_java(tmp_path: Path) -> None:
    """A client is generated."""
    generated("java", tmp_path)


def test_openapi_generator_typescript_fetch(node: Path, arguments: list[str]) -> None:
    """The same in TypeScript."""
    generated("typescript-fetch", node)
    for source in (node / "typescript-fetch").rglob("*.ts"):
        source.write_text(with_extensions(source))
    run_script(node, "with_typescript_fetch", arguments)


def with_extensions(source: Path) -> str:
    """Return the source with imports as Node's own modules want them."""

    def extended(found: re.Match[str]) -> str:
        path = found[1]
        return f"from '{path}{'/index' if (source.parent / path).is_dir() else ''}.js'"

    return re.sub(r"from '(\.[^']*?)(?:\.js)?'", extended, source.read_text())


def test_openapi_typescript_and_openapi_fetch(node: Path, arguments: list[str]) -> None:
    """The types alone are enough."""
    run("node_modules/.bin/openapi-typescript", FILE, "-o", "schema.d.ts", folder=node)
    run_script(node, "with_openapi_fetch", arguments)


def test_hey_api(node: Path, arguments: list[str]) -> None:
    """The key goes into the header, the token into the query."""
    run("node_modules/.bin/openapi-ts", "-i", FILE, "-o", "hey", "-c", "@hey-api/client-fetch", folder=node)
    for source in (node / "hey").rglob("*.ts"):
        source.write_text(with_extensions(source))
    run_script(node, "with_hey_api", arguments)
