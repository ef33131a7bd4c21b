"""`python -m benchmarks.drain`: measure, print, and write `drain.json` and `drain.svg`.

In simulated time: the real core, API signing and processor loop beside three references.
"""

import argparse
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path

if importlib.util.find_spec("core") is None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "functions"))

from benchmarks.chart import chart
from benchmarks.compare import Outcome, compare, economy_table, table, targets
from benchmarks.loads import LOADS, OUTAGES, USUAL

OTHER_OUTAGES_LOADS = ("burst of 60", "4 per minute")


def main() -> int:
    """Run what was asked for; 1 if a target is missed."""
    arguments = _arguments()
    loads = [load for load in LOADS if load.name in arguments.loads]
    outcomes = [
        _measured(compare(load, outages, arguments.seeds))
        for outages in OUTAGES
        for load in loads
        if outages == USUAL or load.name in OTHER_OUTAGES_LOADS
    ]
    for outages in OUTAGES:
        shown = [outcome for outcome in outcomes if outcome.outages == outages]
        print(f"\n{outages} outages\n\n{table(shown)}\n\n{economy_table(shown)}")  # noqa: T201
    _write(outcomes, arguments.seeds, arguments.out)
    return int(_missed(outcomes))


def _arguments() -> argparse.Namespace:
    names = [load.name for load in LOADS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=40, help="runs per load and policy")
    parser.add_argument("--loads", nargs="+", default=names, choices=names, metavar="LOAD", help=f"{names}")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where results are written")
    return parser.parse_args()


def _measured(outcome: Outcome) -> Outcome:
    print(f"measured: {outcome.load}, {outcome.outages} outages", file=sys.stderr, flush=True)  # noqa: T201
    return outcome


def _write(outcomes: Sequence[Outcome], seeds: int, folder: Path) -> None:
    results = {"seeds": seeds, "outcomes": [outcome.as_json() for outcome in outcomes]}
    (folder / "drain.json").write_text(json.dumps(results, indent=1) + "\n")
    usual = [outcome for outcome in outcomes if outcome.outages == USUAL]
    (folder / "drain.svg").write_text(chart(usual))


def _missed(outcomes: Sequence[Outcome]) -> bool:
    missed = False
    print()  # noqa: T201
    for outcome in outcomes:
        for target in targets(outcome):
            missed |= not target.met
            verdict = "met   " if target.met else "MISSED"
            bound = f"{'at most' if target.at_most else 'at least'} {target.limit:g}"
            where = f"{outcome.load}, {outcome.outages} outages"
            print(f"{verdict} {where}: {target.name} {target.measured:.3f} ({bound})")  # noqa: T201
    return missed


if __name__ == "__main__":
    sys.exit(main())
