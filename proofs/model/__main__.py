"""Prints what the search finds, with all guards and without each."""

import time

import infra  # noqa: F401 - puts the functions on the path
from proofs.model.search import search
from proofs.model.world import Guard

if __name__ == "__main__":
    print("The two slots are alike: their numbers may change places from one step to the next.")  # noqa: T201
    for without in (None, *Guard):
        started_s = time.perf_counter()
        found = search(without)
        took_s = time.perf_counter() - started_s
        print(f"\n{f'without: {without}' if without else 'with all seven guards'}")  # noqa: T201
        verdict = "safe" if found.counter_example is None else "one call too many"
        print(f"  {verdict}: {found.states:,} states, {took_s:.1f} s")  # noqa: T201
        for number, step in enumerate(found.counter_example or [], start=1):
            print(f"  {number:2}. {step}")  # noqa: T201
