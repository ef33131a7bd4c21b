"""What a cold start costs: the built API in Lambda's own runtime, beside a bare function with its packages.

`python -m benchmarks.cold [--starts N]`. Both are started in turns, so that noise hits both alike; the
least of several is the figure, for whatever else the machine does only adds.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copy, make_archive
from statistics import median, quantiles

from benchmarks.runtime import (
    ENVIRONMENT,
    FUNCTIONS,
    Interpreter,
    build,
    install,
    runtime_packages,
    started,
)

WARM_REQUESTS = 300
BUDGET_MS = 2_000
INIT_RATIO_MAX = 1.2
BUDGET_SHARE_MAX = 0.3
SIZES_MAX_MB = {"ApiFunction": 20, "NotifierFunction": 26, "ProcessorFunction": 8}
TOP = 12


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(line + "\n")


@dataclass
class Figures:
    """What was measured of one function, in ms and MB."""

    cold_ms: list[float] = field(default_factory=list)
    cold_cpu_ms: list[float] = field(default_factory=list)
    import_ms: list[float] = field(default_factory=list)
    warm_ms: list[float] = field(default_factory=list)
    peak_mb: float = 0.0

    def lines(self) -> Mapping[str, str]:
        p99 = quantiles(self.warm_ms, n=100)[98]
        return {
            "first request, least (median)": f"{min(self.cold_ms):.0f} ms ({median(self.cold_ms):.0f})",
            "processor time until then": f"{min(self.cold_cpu_ms):.0f} ms",
            "import of the handler": f"{min(self.import_ms):.0f} ms",
            "warm p50, p99": f"{median(self.warm_ms):.1f}, {p99:.1f} ms",
            "peak memory": f"{self.peak_mb:.0f} MB",
        }


@dataclass(frozen=True)
class Subject:
    """A function to measure."""

    name: str
    handler: str
    folder: Path
    figures: Figures = field(default_factory=Figures)


def measure(subject: Subject, python: Interpreter, path: str) -> None:
    """Start it once, cold, and ask the one path that calls nobody."""
    with started(python, subject.handler, path) as instance:
        cold_ms, answer = instance.invoke("/")
        assert answer.get("statusCode") == 200, answer
        subject.figures.cold_ms.append(cold_ms)
        subject.figures.cold_cpu_ms.append(instance.cpu_ms())
        subject.figures.warm_ms += [instance.invoke("/")[0] for _ in range(WARM_REQUESTS)]
        subject.figures.peak_mb = max(subject.figures.peak_mb, instance.peak_mb())
    packages = import_ms_by_package(subject, python, path)
    subject.figures.import_ms.append(sum(packages.values()))


def import_ms_by_package(subject: Subject, python: Interpreter, path: str) -> Counter[str]:
    """Return what each package's own modules took to import."""
    module = subject.handler.rpartition(".")[0]
    answer = subprocess.run(  # noqa: S603
        [python.path, "-X", "importtime", "-c", f"import {module}"],
        env={**ENVIRONMENT, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    times: Counter[str] = Counter()
    for line in answer.stderr.splitlines():
        own, _, name = line.removeprefix("import time:").split("|") if line.count("|") > 1 else ("", "", "")
        if own.strip().isdigit():
            times[name.strip().partition(".")[0]] += int(own) / 1000  # type: ignore[assignment]
    return times


def size_mb(folder: Path) -> float:
    """Return the size of all files."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def zip_mb(folder: Path) -> float:
    """Return the size of the archive."""
    with tempfile.TemporaryDirectory() as temporary:
        return Path(make_archive(f"{temporary}/function", "zip", folder)).stat().st_size / 1e6


def build_all(python: Interpreter, folder: Path) -> Mapping[str, Path]:
    """Build the three functions, and install the packages of the bare one."""
    built = {name: folder / name for name in SIZES_MAX_MB}
    for name, target in built.items():
        build(python, name, target)
    bare = folder / "bare"
    install(python, bare, "-r", str(FUNCTIONS / "api" / "requirements.txt"))
    copy(Path(__file__).with_name("bare_function.py"), bare)
    subprocess.run([python.path, "-m", "compileall", "-q", str(bare)], check=False)  # noqa: S603
    return {**built, "bare": bare}


def report(api: Subject, bare: Subject, python: Interpreter, path: Mapping[str, str]) -> bool:
    """Print everything; say whether every target is met."""
    say(f"\nPython {python.version}, one core, {len(api.figures.cold_ms)} starts each, in turns\n")
    say(f"{'':32}{api.name:>18}{bare.name:>18}")
    ours, theirs = api.figures.lines(), bare.figures.lines()
    for name, value in ours.items():
        say(f"{name:32}{value:>18}{theirs[name]:>18}")
    mine, other = (import_ms_by_package(subject, python, path[subject.name]) for subject in (api, bare))
    say("\nimport time by package, in ms")
    for package, took_ms in mine.most_common(TOP):
        say(f"  {package:30}{took_ms:>18.1f}{other[package]:>18.1f}")
    ratio = min(api.figures.cold_cpu_ms) / min(bare.figures.cold_cpu_ms)
    share = min(api.figures.cold_ms) / BUDGET_MS
    say(f"\ninit: {ratio:.2f} of the bare function's processor time (at most {INIT_RATIO_MAX})")
    say(f"first request: {share:.0%} of the two seconds (at most {BUDGET_SHARE_MAX:.0%})")
    return ratio <= INIT_RATIO_MAX and share <= BUDGET_SHARE_MAX


def report_sizes(built: Mapping[str, Path]) -> bool:
    """Print what each function weighs, byte code included and the SDK not."""
    sizes = {name: size_mb(built[name]) for name in SIZES_MAX_MB}
    for name, size in sizes.items():
        zipped = zip_mb(built[name])
        say(f"{name:20}{size:6.1f} MB unzipped (at most {SIZES_MAX_MB[name]}), {zipped:.1f} MB zipped")
    return all(size <= SIZES_MAX_MB[name] for name, size in sizes.items())


def main() -> int:
    """Measure; the exit status says whether every target is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=8)
    starts = parser.parse_args().starts
    python = Interpreter.find()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as temporary:
        built = build_all(python, Path(temporary))
        api = Subject("API", "api.handler.handler", built["ApiFunction"])
        bare = Subject("bare function", "bare_function.handler", built["bare"])
        runtime = runtime_packages(python)
        path = {subject.name: f"{subject.folder}{os.pathsep}{runtime}" for subject in (api, bare)}
        for _ in range(starts):
            for subject in (api, bare):
                measure(subject, python, path[subject.name])
        fast_enough = report(api, bare, python, path)
        return 0 if report_sizes(built) and fast_enough else 1


if __name__ == "__main__":
    raise SystemExit(main())
