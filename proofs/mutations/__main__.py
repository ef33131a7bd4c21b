"""`python -m proofs.mutations window` applies each fault in turn and prints what catches it."""

import argparse
import sys

from proofs.mutations import callers, jobs, wakeups, webhooks, window
from proofs.mutations.catching import caught_all

LISTS = {
    "window": window.FAULTS,
    "jobs": jobs.FAULTS,
    "webhooks": webhooks.FAULTS,
    "callers": callers.FAULTS,
    "wakeups": wakeups.FAULTS,
}


def main() -> int:
    """Print a table; 1 if any fault goes unnoticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("list", choices=LISTS)
    parser.add_argument("--only", default="", help="those whose name contains this")
    options = parser.parse_args()
    caught = caught_all([fault for fault in LISTS[options.list] if options.only in fault.name])
    width = max(map(len, caught), default=0)
    for name, by in caught.items():
        print(f"{name:{width}}  {by or 'NOT CAUGHT'}")  # noqa: T201
    print(f"{sum(map(bool, caught.values()))} of {len(caught)} caught")  # noqa: T201
    return 0 if all(caught.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
