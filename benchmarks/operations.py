"""`python -m benchmarks.operations`: DynamoDB operations for each accepted request, by how many wait.

The real handlers of all three functions in virtual time, on an upstream that signs every message at its first
call. What a request costs must not depend on how many others wait.
"""

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, replace

from benchmarks.isolation import SETTINGS
from proofs.simulation import virtual_time
from proofs.simulation.plan import CALM, Call, Plan
from proofs.simulation.run import Simulation

BACKLOGS = (60, 1_000, 1_800)
HOOK = "https://good.caller.example/hook"
FUNCTIONS = ("api", "processor", "notifier")
TABLES = ("store", "window", "receivers")
TWICE = frozenset({"store.request"})
"""Methods that make two operations; every other one makes one."""
AT_ONCE = {"store.job": 1, "store.write_job": 2, "window.read": 1, "window.apply": 2}
"""Operations of a request that is answered 200 by its own call."""
LIMITS = {60: 21.0, 1_000: 25.0, 1_800: 25.0}
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Operations:
    """What a backlog took: operations by function and method, and how many requests were accepted.

    The operations of requests that were answered at once are taken off.
    """

    accepted: int
    by_method: Counter[tuple[str, str]]

    @property
    def each(self) -> float:
        """Operations for each accepted request."""
        return self.by_method.total() / self.accepted

    def of(self, function: str) -> float:
        """Operations of one function for each accepted request."""
        return sum(n for (name, _), n in self.by_method.items() if name == function) / self.accepted

    def met(self, backlog: int) -> bool:
        """Whether the target for this backlog is met."""
        return round(self.each, 1) <= LIMITS[backlog]


class Metered(Simulation):
    """The service under a burst, with every operation counted."""

    def __init__(self, planned: Plan) -> None:
        super().__init__(planned, keep_trace=False)
        self._operations: Counter[tuple[str, str]] = Counter()

    def trace(self, *parts: object) -> None:
        """Count an operation of a port."""
        instance, method, *_ = map(str, parts)
        if method.partition(".")[0] in TABLES:
            self._operations[instance.partition("-")[0], method] += 2 if method in TWICE else 1

    async def _follow(self, call: Call, request_id: str) -> None:
        """Nobody polls."""

    async def operations(self) -> Operations:
        """Run until every webhook has arrived."""
        self.begin()
        await self._rest()
        assert not self.checks.violations, self.checks.violations
        assert not self.checks.declined
        at_once = len(self.plan.calls) - len(self.checks.accepted)
        self._operations.subtract({("api", method): at_once * n for method, n in AT_ONCE.items()})
        return Operations(len(self.checks.accepted), self._operations)


def measure(backlog: int) -> Operations:
    """Send that many requests within a minute, all with a webhook, and count until all is done."""
    calls = tuple(
        Call(
            1_000 + n * 60_000 // backlog,
            "caller",
            f"message {n}",
            HOOK,
            keep=False,
        )
        for n in range(backlog)
    )
    planned = Plan(
        seed=1,
        settings=replace(SETTINGS, age_max_ms=2 * DAY_MS),
        rates=CALM,
        outages=(),
        purges_ms=(),
        calls=calls,
        faults_end_ms=0,
        window_exists=True,
        healthy_share=1.0,
        outage_ms=(1_000, 1_000),
        steady=True,
    )
    return virtual_time.run(_measured(planned))


async def _measured(planned: Plan) -> Operations:
    return await Metered(planned).operations()


def main() -> int:
    """Print a row for each backlog; 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backlogs", type=int, nargs="+", default=BACKLOGS, choices=BACKLOGS)
    print(f"| backlog | {' | '.join(FUNCTIONS)} | operations for each | at most |\n|--:|--:|--:|--:|--:|--:|")  # noqa: T201
    missed = False
    for backlog in parser.parse_args().backlogs:
        found = measure(backlog)
        missed |= not found.met(backlog)
        row = " | ".join(f"{value:.1f}" for value in (*map(found.of, FUNCTIONS), found.each, LIMITS[backlog]))
        print(f"| {backlog:,} | {row} |", flush=True)  # noqa: T201
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
