"""`python -m tests.system.race --processes 20 --takes 2000` races for the window of a real database.

Many processes take slots of one short window with the real code, as fast as the window allows. Each grant
must have one owner, and never more than N calls may fall in one window. Without `--endpoint` the embedded
DynamoDB is started for it.
"""

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import chain, pairwise
from multiprocessing import get_context
from pathlib import Path
from statistics import quantiles
from typing import Any

import infra  # noqa: F401 - puts the functions on the path
from adapters import aws
from adapters.clock import SystemClock, SystemRandomness
from adapters.dynamodb_window import DynamoWindowStore
from calling.slots import Lease, Slots
from core import window as windows
from core.answers import Answer, Meaning
from core.errors import Unavailable
from core.gate import Gate
from core.window import Change, Kind, Limits, NotBefore, Timing
from infra.local import emulator
from infra.local.aws import LocalSession
from infra.local.processes import Child
from infra.local.upstream_model import worst_window
from ports import Conflict, Written
from tests.system.stack import free_ports

LIMITS = Limits(calls=20, window_ms=1_000)
TIMING = Timing(grace_ms=0, margin_ms=5, send_limit_ms=500)  # all on one machine's clock
CALL_LIMIT_MS = 200
ANSWER_MS_MAX = 20
UNKNOWN_EVERY = 50  # one call in so many is heard of no more
READY_LIMIT_S = 60
RACE_LIMIT_S = 900
READ_TIMEOUT_S = 10.0  # twenty processes on two cores: slow is not what is looked for


@dataclass(frozen=True, slots=True)
class Grant:
    """One grant: whose it was, which slot, and when its call arrived."""

    permit_id: str
    slot: int
    arrived_ms: float
    took_ms: float


@dataclass(slots=True)
class Tally:
    """What one process did."""

    grants: list[Grant] = field(default_factory=list)
    writes: int = 0
    conflicts: int = 0
    unknown: int = 0


class CountingStore(DynamoWindowStore):
    """Counts writes, and those that lost a race."""

    tally: Tally

    async def apply(self, change: Change) -> Written[Gate] | Conflict[Gate]:
        result = await super().apply(change)
        self.tally.writes += 1
        self.tally.conflicts += isinstance(result, Conflict)
        return result


def _store(endpoint: str, table: str) -> CountingStore:
    config = aws.config(attempts=1, read_timeout_s=READ_TIMEOUT_S)
    client = LocalSession(endpoint).client("dynamodb", config=config)
    return CountingStore(client, table, lambda: Gate(windows.empty(LIMITS)))


async def _race(endpoint: str, table: str, takes: Any, ready: Any) -> Tally:
    store = _store(endpoint, table)
    store.tally = Tally()
    slots = Slots(store, SystemClock(), SystemRandomness(), TIMING)
    await slots.refresh()
    ready.wait(READY_LIMIT_S)
    while takes.value > 0:
        try:
            await _call_once(slots, store.tally, takes)
        except Unavailable:
            store.tally.unknown += 1
    return store.tally


async def _call_once(slots: Slots, tally: Tally, takes: Any) -> None:
    started_s = time.perf_counter()
    lease = await slots.take(Kind.FRESH, CALL_LIMIT_MS)
    if isinstance(lease, NotBefore):
        wait_ms = lease.at_ms - time.time() * 1000
        await asyncio.sleep(max(0.0, wait_ms) / 1000)
        await slots.refresh()
        return
    took_ms = (time.perf_counter() - started_s) * 1000
    with takes.get_lock():
        takes.value -= 1
    await asyncio.sleep(random.uniform(0, ANSWER_MS_MAX) / 1000)
    await _send(slots, lease, tally, took_ms)


async def _send(slots: Slots, lease: Lease, tally: Tally, took_ms: float) -> None:
    """The call itself: it arrives the moment it is sent, and is answered a little later."""
    if not slots.may_send(lease)():
        await slots.settle(lease, Answer(Meaning.NEVER_SENT))
        return
    arrived_ms = time.time() * 1000
    tally.grants.append(Grant(lease.permit.id, lease.permit.slot, arrived_ms, took_ms))
    await asyncio.sleep(random.uniform(0, ANSWER_MS_MAX) / 1000)
    if random.randrange(UNKNOWN_EVERY):
        first_byte_ms = time.monotonic_ns() // 1_000_000
        await slots.settle(lease, Answer(Meaning.FAILED, first_byte_mono_ms=first_byte_ms))


def _process(endpoint: str, table: str, takes: Any, ready: Any, tallies: Any) -> None:
    tallies.put(asyncio.run(_race(endpoint, table, takes, ready)))


def race(endpoint: str, table: str, *, processes: int, takes: int) -> list[Tally]:
    """Make the table's window anew, and return what each process did."""
    asyncio.run(_store(endpoint, table).overwrite(Gate(windows.empty(LIMITS))))
    context = get_context("spawn")
    left, ready, tallies = context.Value("i", takes), context.Barrier(processes), context.Queue()
    started = [
        context.Process(target=_process, args=(endpoint, table, left, ready, tallies), daemon=True)
        for _ in range(processes)
    ]
    for process in started:
        process.start()
    results = [tallies.get(timeout=RACE_LIMIT_S) for _ in started]
    for process in started:
        process.join()
    return results


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the race came to."""

    grants: int
    worst_window: int
    shared_slots: int
    writes_per_grant: float
    conflicts: int
    unknown: int
    p50_ms: float
    p99_ms: float

    @property
    def holds(self) -> bool:
        """Whether each grant had one owner, and no window a call too many."""
        return self.shared_slots == 0 and self.worst_window <= LIMITS.calls


def judge(tallies: Iterable[Tally]) -> Judgement:
    """Put together what the processes saw: they share one machine's clock."""
    tallies = list(tallies)
    grants = sorted(
        chain.from_iterable(tally.grants for tally in tallies), key=lambda grant: grant.arrived_ms
    )
    by_slot: dict[int, list[float]] = {}
    for grant in grants:
        by_slot.setdefault(grant.slot, []).append(grant.arrived_ms)
    gaps_ms = [later - earlier for times_ms in by_slot.values() for earlier, later in pairwise(times_ms)]
    cuts_ms = quantiles((grant.took_ms for grant in grants), n=100)
    return Judgement(
        grants=len({grant.permit_id for grant in grants}),
        worst_window=worst_window([grant.arrived_ms / 1000 for grant in grants], LIMITS.window_ms / 1000),
        shared_slots=sum(gap_ms < LIMITS.window_ms for gap_ms in gaps_ms),
        writes_per_grant=sum(tally.writes for tally in tallies) / len(grants),
        conflicts=sum(tally.conflicts for tally in tallies),
        unknown=sum(tally.unknown for tally in tallies),
        p50_ms=cuts_ms[49],
        p99_ms=cuts_ms[98],
    )


@contextmanager
def embedded() -> Iterator[str]:
    """Start the embedded AWS in a folder of its own, and yield its address."""
    emulator.install(print)
    port = int(free_ports()["AWS_PORT"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = emulator.environment(folder / "aws", folder / "functions.log", port, os.environ)
        child = Child.start("emulator", emulator.command(), environment, folder)
        try:
            child.wait_until_answering(f"http://127.0.0.1:{port}/_ministack/health", READY_LIMIT_S)
            yield f"http://127.0.0.1:{port}"
        finally:
            child.ask_to_stop()
            child.end(READY_LIMIT_S)


def make_table(endpoint: str, table: str) -> None:
    """Make the table if it is not there."""
    client = LocalSession(endpoint).client("dynamodb")
    if table not in client.list_tables()["TableNames"]:
        client.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "PK", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )


def main() -> int:
    """Race, print, and return 1 if the promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoint", help="of a DynamoDB; none: the embedded one is started")
    parser.add_argument("--table", default="window-race", help="its window is overwritten")
    parser.add_argument("--processes", type=int, default=20)
    parser.add_argument("--takes", type=int, default=2_000)
    arguments = parser.parse_args()
    with nullcontext(arguments.endpoint) if arguments.endpoint else embedded() as endpoint:
        make_table(endpoint, arguments.table)
        started_s = time.perf_counter()
        tallies = race(endpoint, arguments.table, processes=arguments.processes, takes=arguments.takes)
    result = judge(tallies)
    print(  # noqa: T201
        f"{arguments.processes} processes, {LIMITS.calls} calls per {LIMITS.window_ms} ms: "
        f"{result.grants} grants in {time.perf_counter() - started_s:.0f} s, "
        f"worst window {result.worst_window} of {LIMITS.calls}, {result.shared_slots} slots shared, "
        f"{result.conflicts} conflicts, {result.writes_per_grant:.2f} writes per grant, "
        f"{result.unknown} writes of unknown fate, "
        f"take p50 {result.p50_ms:.0f} ms, p99 {result.p99_ms:.0f} ms"
    )
    return 0 if result.holds else 1


if __name__ == "__main__":
    sys.exit(main())
