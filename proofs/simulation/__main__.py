"""`python -m proofs.simulation --seeds 1000`, or `--seed 17 --trace` to replay one."""

import argparse
import importlib.util
import sys
import time
from collections import Counter
from collections.abc import Iterable
from functools import partial
from multiprocessing import get_context
from pathlib import Path

if importlib.util.find_spec("core") is None:  # unless PYTHONPATH names another copy of the functions
    sys.path.insert(0, str(Path(__file__).parents[2] / "functions"))

from proofs.simulation.run import Result, run_seed
from proofs.simulation.troubles import Trouble

PROCESSES = 2
REPORTED_MAX = 10
REPLAY = "python -m proofs.simulation --seed {seed} --trace"


def main() -> int:
    """Run the seeds asked for; 1 if any fails."""
    arguments = _arguments()
    if arguments.seed is not None:
        return _one(arguments.seed, arguments.trouble, trace=arguments.trace)
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    return _many(seeds, arguments.trouble, stop_at_first=arguments.stop)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Deterministic simulation of the whole service.")
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--stop", action="store_true", help="stop at the first failure")
    parser.add_argument("--seed", type=int, help="run this one only")
    parser.add_argument("--trouble", type=Trouble, choices=Trouble, help="give each seed this one")
    parser.add_argument("--trace", action="store_true", help="print every event of it")
    return parser.parse_args()


def _one(seed: int, trouble: Trouble | None, *, trace: bool) -> int:
    result = run_seed(seed, trouble=trouble, keep_trace=trace)
    sys.stdout.writelines(f"{line}\n" for line in result.trace)
    _report(result)
    print(f"seed {seed}: digest {result.digest:08x}, {result.ended_ms / 1000:.0f} s, {result.counts}")  # noqa: T201
    return int(bool(result.violations))


def _many(seeds: range, trouble: Trouble | None, *, stop_at_first: bool) -> int:
    started_s = time.monotonic()
    failed, totals = 0, Counter[str]()
    with get_context("fork").Pool(PROCESSES) as pool:
        run = partial(run_seed, trouble=trouble)
        results: Iterable[Result] = pool.imap_unordered(run, seeds, chunksize=2)
        for result in results:
            totals.update(result.counts)
            if result.violations:
                failed += 1
                if failed <= REPORTED_MAX:
                    _report(result)
                if stop_at_first:
                    break
    for name, number in sorted(totals.items()):
        print(f"{number:8} {name}")  # noqa: T201
    took_s = time.monotonic() - started_s
    print(f"{len(seeds)} seeds, {failed} failed, {took_s:.1f} s")  # noqa: T201
    return int(failed > 0)


def _report(result: Result) -> None:
    for violation in result.violations[:3]:
        print(f"seed {result.seed}: {violation}")  # noqa: T201
    if result.violations:
        print(f"  replay: {REPLAY.format(seed=result.seed)}", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
