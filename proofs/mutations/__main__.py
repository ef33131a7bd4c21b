"""`python -m proofs.mutations window` applies each fault in turn and prints which test catches it."""

import argparse
import sys

from proofs.mutations import window
from proofs.mutations.tool import run_all

LISTS = {"window": window.MUTATIONS}


def main() -> int:
    """Print a table; 1 if any fault goes unnoticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("list", choices=LISTS)
    caught = run_all(LISTS[parser.parse_args().list])
    width = max(len(name) for name in caught)
    for name, test in caught.items():
        print(f"{name:{width}}  {test or 'NOT CAUGHT'}")  # noqa: T201
    print(f"{sum(map(bool, caught.values()))} of {len(caught)} caught")  # noqa: T201
    return 0 if all(caught.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
