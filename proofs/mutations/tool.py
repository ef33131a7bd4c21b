"""Runs a few fast tests on a copy of the functions with one fault in it, and expects them to fail."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
AT_ONCE = 2
TESTS_FAILED = 1  # pytest's exit status


@dataclass(frozen=True, slots=True)
class Mutation:
    """A fault: in `file`, the text `old`, which is there exactly once, becomes `new`.

    `tests`: where pytest looks for a test that fails then; the first one that does is enough.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def apply(self, functions: Path) -> None:
        """Put the fault into a copy of the functions."""
        path = functions / self.file
        text = path.read_text()
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: found {text.count(self.old)} times in {self.file}: {self.old}")
        path.write_text(text.replace(self.old, self.new))


def caught_by(mutation: Mutation) -> str:
    """Return the test that failed first; an empty string if all passed."""
    with tempfile.TemporaryDirectory() as folder:
        functions = Path(folder) / "functions"
        shutil.copytree(ROOT / "functions", functions, ignore=shutil.ignore_patterns("__pycache__"))
        mutation.apply(functions)
        done = _run_tests(functions, mutation.tests)
    summary = (line for line in done.stdout.splitlines() if line.startswith("FAILED "))
    failed = [line.removeprefix("FAILED ").split(" - ")[0] for line in summary]
    if done.returncode == 0:
        return ""
    if done.returncode != TESTS_FAILED or not failed:
        raise RuntimeError(
            f"{mutation.name}: the tests did not run: {done.stdout[-2000:]}{done.stderr[-500:]}"
        )
    return failed[0].removeprefix("tests/")


def _run_tests(functions: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    plugins = ["-p", "pytest_asyncio.plugin", "-p", "pytest_timeout"]  # loading all others takes longest
    options = ["-q", "-x", "-p", "no:cacheprovider", "--no-header", "-o", f"pythonpath={functions} {ROOT}"]
    return subprocess.run(  # noqa: S603
        [sys.executable, "-B", "-m", "pytest", *plugins, *options, *(f"tests/{test}" for test in tests)],
        cwd=ROOT,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def run_all(mutations: Sequence[Mutation]) -> dict[str, str]:
    """Return, for each mutation by name, the test that caught it; an empty string where none did."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        caught = pool.map(caught_by, mutations)
        return dict(zip((mutation.name for mutation in mutations), caught, strict=True))
