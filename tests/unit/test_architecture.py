"""The shape of the house: imports point inwards, and the core stays pure."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

FUNCTIONS = Path(__file__).parents[2] / "functions"
# Who may import whom, of our own packages.
ALLOWED = {
    "core": {"core"},
    "ports": {"core"},
    "calling": {"core", "ports", "calling"},
    "adapters": {"core", "ports", "adapters"},
    "web": {"core", "ports", "calling", "web"},
    "console": {"core", "ports", "calling", "web", "console"},
    "api": {"core", "ports", "calling", "adapters", "web", "api"},
    "processor": {"core", "ports", "calling", "adapters", "processor"},
    "notifier": {"core", "ports", "calling", "adapters", "notifier"},
}
# The API function serves the console too.
MOUNTED = {name: {"console"} for name in ("api/app.py", "api/services.py", "api/wiring.py")}
# What would let the world into the core: clock, randomness, environment, network, AWS.
IMPURE = {
    "asyncio", "boto3", "botocore", "fastapi", "httpcore", "httpx", "os", "random", "secrets",
    "socket", "ssl", "subprocess", "threading", "time", "uuid",
}  # fmt: skip


def modules(package: str) -> Iterator[Path]:
    single = FUNCTIONS / f"{package}.py"
    yield from [single] if single.exists() else sorted((FUNCTIONS / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Return the first part of every module that a file imports, at the top or inside."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_imports_point_inwards(package: str) -> None:
    """Core ← ports ← calling and adapters ← the functions, which never import one another."""
    found = {
        path: imported(path)
        & set(ALLOWED) - ALLOWED[package] - MOUNTED.get(str(path.relative_to(FUNCTIONS)), set())
        for path in modules(package)
    }
    assert {path.name: names for path, names in found.items() if names} == {}


def test_core_is_pure() -> None:
    """Time, chance and the world come in as arguments."""
    found = {path: imported(path) & IMPURE for path in modules("core")}
    assert {path.name: names for path, names in found.items() if names} == {}


def test_only_entry_points_read_the_environment() -> None:
    """Settings are parsed from a mapping in one place: `os.environ` is for handlers."""
    readers = {
        str(path.relative_to(FUNCTIONS))
        for package in ALLOWED
        for path in modules(package)
        if "os.environ" in path.read_text()
    }
    assert readers == {"api/handler.py", "notifier/handler.py", "processor/handler.py"}


def test_every_package_is_known() -> None:
    """A new package has to say whom it may import."""
    packages = {path.name for path in FUNCTIONS.iterdir() if (path / "__init__.py").exists()}
    assert packages | {"ports"} == set(ALLOWED)
