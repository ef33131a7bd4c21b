"""`python -m benchmarks.isolation`: what one caller does to another. The real handlers, in virtual time.

At the end some webhooks are timed on the embedded stack; `--virtual` leaves that out.

One caller floods the service in one way; another asks twice a minute meanwhile. Of the other's requests the
worst figures count: how long until the first upstream call, how long from the outcome to the webhook, how
long until the answer.
"""

import argparse
import asyncio
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

from benchmarks import isolation_stack
from core.config import CallSettings
from core.job import job_id
from core.window import Limits, Timing
from proofs.simulation import virtual_time
from proofs.simulation.checks import Answer
from proofs.simulation.plan import CALM, MARGIN_MS, Call, Plan
from proofs.simulation.run import Simulation
from proofs.simulation.virtual_time import EPOCH_MS

WINDOW_MS = 60_000
MINUTES = 10
FIRST_ASKED_MS = 70_000
LONGEST_S = 3_600
SETTINGS = CallSettings(
    url="http://upstream.example",
    limits=Limits(10, WINDOW_MS),
    timing=Timing(grace_ms=10_000, margin_ms=MARGIN_MS),
    call_limit_ms=30_000,
    retry_ms=30_000,
    attempts_max=60,
    age_max_ms=21_600_000,
    signature_ttl_ms=3_600_000,
)


@dataclass(frozen=True, slots=True)
class Figures:
    """The worst of the other caller's requests, in seconds; infinite where it never came."""

    first_call_s: float
    second_call_s: float
    webhook_s: float
    answer_s: float


BOUNDS = Figures(
    first_call_s=2 * WINDOW_MS / 1000 + 12, second_call_s=14 * WINDOW_MS / 1000, webhook_s=5.0, answer_s=2.0
)
"""Two windows and a fair share of the third, half of it being the other caller's; then 5 s; always 2 s.

A second call comes after the retry delay, at most ten windows behind first calls, two windows, and its share.
"""
RETRIES_BOUND_S = 33 + BOUNDS.first_call_s
"""While the other caller's messages are retried too: the retry delay, and then as for a first call."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What the flooding caller does."""

    name: str
    flood: Callable[[], list[Call]]
    second_call_s: float = BOUNDS.second_call_s

    @property
    def bounds(self) -> Figures:
        """The other caller's bounds meanwhile."""
        return replace(BOUNDS, second_call_s=self.second_call_s)


def _new_messages(count: int, name: str, *, receiver: str = "good.trudy.example") -> list[Call]:
    return [
        Call(1_000 + 20 * n, "trudy", f"{name} {n}", f"https://{receiver}/{n}", False) for n in range(count)
    ]


def _one_message(count: int, url: Callable[[int], str]) -> list[Call]:
    return [Call(1_000 + 10 * n, "trudy", "wanted by many", url(n), False) for n in range(count)]


SCENARIOS = (
    Scenario("nobody else", list),
    Scenario("flood of new messages", lambda: _new_messages(2_000, "flood")),
    Scenario(
        "flood of one message", lambda: _one_message(3_000, lambda n: f"https://good.trudy.example/{n}")
    ),
    Scenario("messages refused with 403", lambda: _new_messages(60, "forbidden")),
    Scenario("messages that keep failing", lambda: _new_messages(30, "failing"), RETRIES_BOUND_S),
    Scenario("dead receivers", lambda: _one_message(1_000, lambda n: f"https://dead.trudy-{n}.example/hook")),
    Scenario("slow receivers", lambda: _one_message(240, lambda n: f"https://silent.trudy-{n}.example/hook")),
    Scenario(
        "slow paths on the same host",
        lambda: _one_message(240, lambda n: f"https://silent.shared.example/{n}"),
    ),
    Scenario("unreadable records", lambda: _new_messages(100, "unreadable")),
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


class Isolation(Simulation):
    """The service under one flood, until the other caller has all that it asked for."""

    def __init__(self, planned: Plan, asked: Sequence[Call]) -> None:
        super().__init__(planned, keep_trace=False)
        self._asked_for = asked
        self._answers: dict[str, Answer] = {}

    def answered(self, call: Call, answer: Answer) -> None:
        """Remember what the other caller was told."""
        self._answers[call.message] = answer

    async def _follow(self, call: Call, request_id: str) -> None:
        """Nobody polls."""

    async def figures(self) -> Figures:
        """Run, and return the worst."""
        self.begin()
        for _ in range(LONGEST_S):
            await asyncio.sleep(1)
            if all(map(self._done, self._asked_for)):
                break
        waits = [self._waits(call) for call in self._asked_for]
        return Figures(*(max(column) for column in zip(*waits, strict=True)))

    def _done(self, call: Call) -> bool:
        answer = self._answers.get(call.message)
        return answer is not None and (not answer.accepted or answer.request_id in self.checks.told_ms)

    def _waits(self, call: Call) -> tuple[float, ...]:
        answer = self._answers.get(call.message)
        called_ms = self.checks.first_call_ms.get(job_id(call.message), math.inf)
        again_ms = self.checks.second_call_ms.get(job_id(call.message), called_ms)
        answer_ms = self.checks.answer_ms.get(answer.request_id, math.inf) if answer else math.inf
        waits_ms = called_ms - EPOCH_MS - call.at_ms, again_ms - called_ms, answer_ms
        first_s, second_s, answer_s = (each_ms / 1000 for each_ms in waits_ms)
        return first_s, second_s, self._told_after_s(answer), answer_s

    def _told_after_s(self, answer: Answer | None) -> float:
        if answer is None or answer.signed:
            return 0.0 if answer else math.inf
        request = self.checks.request(answer.request_id)
        told_ms = self.checks.told_ms.get(answer.request_id, math.inf)
        return (told_ms - request.closed_ms) / 1000 if request and not request.open else math.inf


def _asked(minute: int) -> list[Call]:
    """Two requests: one that is signed at its first call, and one that is signed at its second."""
    at_ms = FIRST_ASKED_MS + minute * WINDOW_MS
    return [
        Call(at_ms + n, "alice", f"{name} {minute}", f"https://good.alice.example/{name}/{minute}", False)
        for n, name in enumerate(("once", "again"))
    ]


def measure(scenario: Scenario) -> Figures:
    """Run a scenario, and return what it does to the other caller."""
    asked = [call for minute in range(MINUTES) for call in _asked(minute)]
    calls = sorted([*scenario.flood(), *asked], key=lambda call: call.at_ms)
    planned = Plan(
        seed=1,
        settings=SETTINGS,
        rates=CALM,
        outages=(),
        purges_ms=(),
        calls=tuple(calls),
        faults_end_ms=calls[-1].at_ms,
        window_exists=True,
        healthy_share=1.0,
        outage_ms=(1_000, 1_000),
        steady=True,
    )
    return virtual_time.run(_figures(planned, asked))


async def _figures(planned: Plan, asked: Sequence[Call]) -> Figures:
    return await Isolation(planned, asked).figures()


def over_bound(figures: Figures, bounds: Figures) -> list[str]:
    """Return the names of the figures that are over their bounds."""
    return [each.name for each in fields(Figures) if getattr(figures, each.name) > getattr(bounds, each.name)]


def main() -> int:
    """Print a row for each scenario; 1 if any figure is over its bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=BY_NAME, help="one scenario")
    parser.add_argument("--virtual", action="store_true", help="nothing on the embedded stack")
    arguments = parser.parse_args()
    only = arguments.only
    print("| what one caller does | another's first call | second | webhook after the outcome | answer |")  # noqa: T201
    print(f"|---|--:|--:|--:|--:|\n{_row('bound', BOUNDS)}")  # noqa: T201
    failed = False
    for scenario in SCENARIOS:
        if only in {None, scenario.name}:
            figures = measure(scenario)
            failed |= bool(over_bound(figures, scenario.bounds))
            print(_row(scenario.name, figures), flush=True)  # noqa: T201
    if not (only or arguments.virtual):
        for name, webhook_s in isolation_stack.measure():
            failed |= webhook_s > BOUNDS.webhook_s
            print(f"| {name} | | | {webhook_s:.1f} s | |", flush=True)  # noqa: T201
    return int(failed)


def _row(name: str, figures: Figures) -> str:
    calls = f"{figures.first_call_s:.1f} s | {figures.second_call_s:.1f} s"
    return f"| {name} | {calls} | {figures.webhook_s:.1f} s | {figures.answer_s:.2f} s |"


if __name__ == "__main__":
    sys.exit(main())
