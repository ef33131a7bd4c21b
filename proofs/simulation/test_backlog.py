"""G4 while the upstream is out of order: a first call within half of the greatest age, or a refusal."""

from dataclasses import replace

import pytest

from benchmarks.isolation import SETTINGS
from proofs.simulation import virtual_time
from proofs.simulation.plan import CALM, Call, Outage, Plan
from proofs.simulation.run import Simulation

REQUESTS = 120
AGE_MAX_MS = 1_800_000


@pytest.mark.parametrize("port", ["hang", "limit"])
def test_the_backlog_s_promise_holds_if_no_call_succeeds(port: str) -> None:
    """From the first call on the upstream hangs, or answers 429; so some of the requests are refused."""
    calls = tuple(
        Call(1_000 + 1_000 * n, ("alice", "bob")[n % 2], f"message {n}", f"https://good.example/{n}", False)
        for n in range(REQUESTS)
    )
    planned = Plan(
        seed=1,
        settings=replace(SETTINGS, age_max_ms=AGE_MAX_MS),
        rates=CALM,
        outages=(Outage(port, 0, 10 * AGE_MAX_MS),),
        purges_ms=(),
        calls=calls,
        faults_end_ms=0,
        window_exists=True,
        healthy_share=1.0,
        outage_ms=(1_000, 1_000),
        steady=True,
    )
    accepted, declined, violations = virtual_time.run(_served(planned))
    assert violations == []
    assert accepted >= SETTINGS.limits.calls
    assert declined


async def _served(planned: Plan) -> tuple[int, int, list[str]]:
    simulation = Simulation(planned, keep_trace=False)
    result = await simulation.run()
    return len(simulation.checks.accepted), len(simulation.checks.declined), result.violations
