"""What a request costs, counted from a run: `python -m benchmarks.costs [--fast]`.

On an embedded stack whose functions reach AWS through a proxy that keeps each call. Time is not compressed,
for the processor's rounds, polls and seconds follow it: `--fast` shows that all works, in figures of its own.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.billing import Ledger, sqs_requests
from benchmarks.cost_tables import Case, Usage, report
from tests.system.burst import Answered, accepted_ids, await_webhooks, send_burst, stats
from tests.system.fault_proxy import Exchange, FaultProxy
from tests.system.faulty_stack import FaultyStack
from tests.system.kill import COMPRESSED
from tests.system.stack import RunningStack, running_stack
from tests.system.template import FUNCTIONS

QUEUES = (
    "WORK_QUEUE_URL",
    "WORK_DEAD_LETTER_QUEUE_URL",
    "NOTIFICATION_QUEUE_URL",
    "NOTIFICATION_RETRY_QUEUE_URL",
)
ENDPOINTS = tuple(f"AWS_ENDPOINT_URL_{name}" for name in ("DYNAMODB", "SQS", "SECRETS_MANAGER", "LAMBDA"))
HEALTHY = {"outage_share": 0, "slow_share": 0, "hang_share": 0}
DEGRADED = {"outage_share": 0.5, "slow_share": 0.05, "hang_share": 0.01}
REQUESTS = {"at once": 10, "steady": 25, "burst": 60}
STEADY_EVERY_S = 12.0
BURST_EVERY_S = 1.0
DONE_LIMIT_S = 1_500.0
SETTLED_S = 3.0


class Meter:
    """Reads what has been used since it was last read."""

    def __init__(self, proxy: FaultProxy, running: RunningStack) -> None:
        self._proxy = proxy
        self._logs = (running.function_log, running.function_log.with_name("invocations.log"))
        self._ledger = Ledger()
        self._seen = dict.fromkeys(FUNCTIONS, 0)
        self._lines = [0, 0]

    def read(self) -> dict[str, Usage]:
        """Return each function's use since the last time."""
        usage = {package: Usage() for package in FUNCTIONS}
        for package, exchange in self._new_exchanges():
            self._count(usage[package], exchange)
        for line in self._new_lines(1):
            package, took_ms = line.split()
            usage[package].invocations += 1
            usage[package].billed_ms += int(took_ms)
        for line in self._new_lines(0):
            package, _, text = line.partition(" ")
            _count_line(usage[package], text.strip())
        return usage

    def _new_exchanges(self) -> list[tuple[str, Exchange]]:
        """Return them in the order of time, over all functions: a write is charged by what it replaces."""
        found = []
        for package, before in self._seen.items():
            exchanges = self._proxy.services[package].exchanges
            found += [(package, exchange) for exchange in exchanges[before:]]
            self._seen[package] = len(exchanges)
        return sorted(found, key=lambda row: row[1].request.at_s)

    def _new_lines(self, log: int) -> list[str]:
        lines = self._logs[log].read_text().splitlines() if self._logs[log].exists() else []
        before, self._lines[log] = self._lines[log], len(lines)
        return lines[before:]

    def _count(self, usage: Usage, exchange: Exchange) -> None:
        service, _, operation = exchange.request.header("X-Amz-Target").partition(".")
        asked = json.loads(exchange.request.body or b"{}")
        if service.startswith("DynamoDB"):
            usage.operations[operation] += 1
            done = exchange.status == httpx.codes.OK
            usage.units += self._ledger.charge(operation, asked, json.loads(exchange.body), done=done)
        elif service == "AmazonSQS":
            _count_queue(usage, operation, asked, json.loads(exchange.body or b"{}"))
        elif service == "secretsmanager":
            usage.secrets += 1


def _count_queue(
    usage: Usage, action: str, asked: Mapping[str, object], answer: Mapping[str, object]
) -> None:
    sent, received = asked.get("Entries", []), answer.get("Messages", [])
    assert isinstance(sent, list)
    assert isinstance(received, list)
    size = sum(len(row.get("MessageBody", "")) for row in sent) + sum(len(row["Body"]) for row in received)
    name = "ReceiveMessage, empty" if action == "ReceiveMessage" and not received else action
    usage.queue[name] += sqs_requests(size)


def _count_line(usage: Usage, text: str) -> None:
    usage.log_bytes += len(text.encode())
    if not text.startswith("{"):
        return
    for directive in json.loads(text).get("_aws", {}).get("CloudWatchMetrics", []):
        usage.metrics |= {metric["Name"] for metric in directive["Metrics"]}


@contextmanager
def metered_stack(folder: Path, **settings: str) -> Iterator[tuple[RunningStack, Meter]]:
    """Start a stack whose functions reach AWS through one address each."""
    with running_stack(folder, **settings) as running:
        proxy = FaultProxy(dict.fromkeys(FUNCTIONS, running.stack.settings.aws_url))
        with proxy.running():
            faulty = FaultyStack(running, proxy, routes_of(running))
            faulty.reroute()
            asyncio.run(faulty.warm(running.stack.settings.warm_workers, "/health"))
            yield running, Meter(proxy, running)


def routes_of(running: RunningStack) -> dict[str, dict[str, str]]:
    """Return, by function, which of its variables lead to its address of the proxy."""
    routes = {}
    client = running.session.client("lambda")
    for package, function in FUNCTIONS.items():
        name = running.resources[function]
        given = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        routes[function] = dict.fromkeys(
            [*ENDPOINTS, *(queue for queue in QUEUES if queue in given)], package
        )
    return routes


class Measurement:
    """Runs the cases, one after the other, on one stack."""

    def __init__(self, running: RunningStack, meter: Meter) -> None:
        self._running = running
        self._meter = meter

    async def idle(self, minutes: float) -> Case:
        """Nobody asks for anything."""
        return await self._case("idle", [], asyncio.sleep(minutes * 60))

    async def at_once(self) -> Case:
        """A healthy upstream, and a free slot for each."""
        await self._behave(HEALTHY)
        return await self._requests("at once", REQUESTS["at once"], BURST_EVERY_S)

    async def known(self) -> Case:
        """The same messages again."""
        return await self._requests("at once", REQUESTS["at once"], BURST_EVERY_S, name="known")

    async def steady(self, every_s: float) -> Case:
        """Half the allowance, evenly, on a degraded upstream."""
        await self._behave(DEGRADED)
        return await self._requests("steady", REQUESTS["steady"], every_s)

    async def burst(self, every_s: float) -> Case:
        """Sixty in a minute, on a degraded upstream."""
        return await self._requests("burst", REQUESTS["burst"], every_s)

    async def _requests(self, kind: str, count: int, every_s: float, *, name: str = "") -> Case:
        messages = [f"{kind} {number}" for number in range(count)]
        answers: list[Answered] = []

        async def send() -> None:
            answers.extend(await send_burst(self._running, messages, every_s))
            await self._await_all(accepted_ids(answers))

        return await self._case(name or kind, answers, send())

    async def _case(self, name: str, answers: Sequence[Answered], doing: Coroutine[Any, Any, None]) -> Case:
        self._meter.read()
        before = (await stats(self._running))["arrivals_total"]
        await doing
        await asyncio.sleep(SETTLED_S)
        calls = (await stats(self._running))["arrivals_total"] - before
        case = Case(name, len(answers), len(accepted_ids(answers)), calls, self._meter.read())
        say(f"{name}: {case.requests} requests, {case.accepted} accepted, {calls} upstream calls")
        return case

    async def _await_all(self, request_ids: Sequence[str]) -> None:
        came = await await_webhooks(self._running, request_ids, DONE_LIMIT_S)
        if len(came) < len(request_ids):
            raise RuntimeError(f"{len(request_ids) - len(came)} webhooks are missing")

    async def _behave(self, behaviour: Mapping[str, float]) -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(f"{self._running.upstream_url}/_config", json=dict(behaviour))
            answer.raise_for_status()


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def measure(folder: Path, idle_minutes: float, *, fast: bool) -> dict[str, Case]:
    """Run all cases; return them by name."""
    window_s = float(COMPRESSED["UPSTREAM_WINDOW_SECONDS"]) if fast else 60.0
    speed = 60.0 / window_s

    async def run(measurement: Measurement) -> list[Case]:
        cases = [await measurement.idle(idle_minutes)]
        cases += [await measurement.at_once(), await measurement.known()]
        await asyncio.sleep(window_s)  # the next case begins with every slot free
        cases.append(await measurement.steady(STEADY_EVERY_S / speed))
        await asyncio.sleep(window_s)
        return [*cases, await measurement.burst(BURST_EVERY_S / speed)]

    with metered_stack(folder, **(COMPRESSED if fast else {})) as (running, meter):
        return {case.name: case for case in asyncio.run(run(Measurement(running, meter)))}


def main() -> int:
    """Run by the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="compress time by 15")
    parser.add_argument("--idle-minutes", type=float, default=5.0)
    options = parser.parse_args()
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        cases = measure(Path(folder), options.idle_minutes, fast=options.fast)
    for line in report(cases, options.idle_minutes):
        say(line)
    say(f"\nmeasured in {time.monotonic() - began_s:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
