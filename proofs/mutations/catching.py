"""Runs tests, or the simulation, with a fault in the code, and says what noticed it."""

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from proofs.mutations.fault import ROOT, Fault

AT_ONCE = 2
SEEDS = 500
"""A rare fault needs a rare course of events; the run stops at the first seed that fails."""
TESTS_FAILED = 1  # pytest's exit status
CRASHES = ("TypeError", "AttributeError", "NameError", "KeyError", "IndexError")
"""A fault that ends in one of these is a mistake in the fault: it would be caught whatever it breaks."""
# Loading all other plugins takes longest.
PYTEST = (
    "pytest",
    "-q",
    "-x",
    "-p",
    "pytest_asyncio.plugin",
    "-p",
    "pytest_timeout",
    "-p",
    "no:cacheprovider",
)


def caught(fault: Fault) -> str:
    """Return the test, or what the seed says, that failed first; an empty string if nothing did."""
    return _by_tests(fault) if fault.tests else _by_simulation(fault)


def caught_all(faults: Sequence[Fault]) -> dict[str, str]:
    """Return, for each fault by name, what caught it; an empty string where nothing did."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip((fault.name for fault in faults), pool.map(caught, faults), strict=True))


def _by_tests(fault: Fault) -> str:
    done = _run(fault, *PYTEST, *(f"tests/{test}" for test in fault.tests))
    failed = [line.removeprefix("FAILED ") for line in done.stdout.splitlines() if line.startswith("FAILED ")]
    if done.returncode == 0:
        return ""
    crashed = any(line.startswith(f"E   {crash}") for line in done.stdout.splitlines() for crash in CRASHES)
    if done.returncode != TESTS_FAILED or not failed or crashed:
        raise RuntimeError(f"{fault.name}: the tests did not run: {done.stdout[-2000:]}{done.stderr[-500:]}")
    return failed[0].split(" - ")[0].removeprefix("tests/")


def _by_simulation(fault: Fault) -> str:
    done = _run(fault, "proofs.simulation", "--first", str(fault.first_seed), "--seeds", str(SEEDS), "--stop")
    violations = [line for line in done.stdout.splitlines() if line.startswith("seed ")]
    if "seeds" not in done.stdout or any("unforeseen" in line for line in violations):
        raise RuntimeError(f"{fault.name}: the fault broke the code: {violations or done.stderr[-500:]}")
    return violations[0] if violations else ""


def _run(fault: Fault, *command: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(ROOT / "functions"), str(ROOT)))
    return subprocess.run(  # noqa: S603
        [sys.executable, "-B", "-m", "proofs.mutations.broken", fault.name, *command],
        cwd=ROOT,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
