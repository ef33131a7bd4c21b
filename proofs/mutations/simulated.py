"""Runs the simulation on a copy of the functions with one fault in it."""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
AT_ONCE = 2
COMMAND = (sys.executable, "-m", "proofs.simulation")


@dataclass(frozen=True, slots=True)
class SimulatedMutation:
    """A fault: in `file`, `old` becomes `new`, and so does each pair of `also`.

    `first`: the seed to begin with; rare faults need a rare course of events, and the early seeds lack it.
    """

    name: str
    file: str
    old: str
    new: str
    also: tuple[tuple[str, str], ...] = ()
    first: int = 0

    def apply(self, functions: Path) -> None:
        """Put the fault into a copy; a text that is not there exactly once is an error of the list."""
        path = functions / self.file
        text = path.read_text()
        for old, new in ((self.old, self.new), *self.also):
            if text.count(old) != 1:
                raise ValueError(f"{self.name}: found {text.count(old)} times in {self.file}: {old}")
            text = text.replace(old, new)
        path.write_text(text)


def caught(mutation: SimulatedMutation, seeds: int) -> str:
    """Return what the first failing seed says; an empty string if no seed fails."""
    with tempfile.TemporaryDirectory() as folder:
        functions = Path(folder) / "functions"
        shutil.copytree(ROOT / "functions", functions, ignore=shutil.ignore_patterns("__pycache__"))
        mutation.apply(functions)
        done = subprocess.run(  # noqa: S603
            [*COMMAND, "--first", str(mutation.first), "--seeds", str(seeds), "--stop"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{functions}{os.pathsep}{ROOT}"},
            capture_output=True,
            text=True,
            check=False,
        )
    violations = [line for line in done.stdout.splitlines() if line.startswith("seed ")]
    if "seeds" not in done.stdout or any("unforeseen" in line for line in violations):
        raise RuntimeError(f"{mutation.name}: the fault broke the code: {violations or done.stderr[-500:]}")
    return violations[0] if violations else ""


def run_all(mutations: tuple[SimulatedMutation, ...], seeds: int) -> dict[str, str]:
    """Return, for each mutation, how it was caught; an empty string where it was not."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = pool.map(lambda mutation: caught(mutation, seeds), mutations)
        return dict(zip((mutation.name for mutation in mutations), results, strict=True))
