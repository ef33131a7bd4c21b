"""Every service behind the API, out of order in every way: the answer comes in two seconds, and is true.

Cells run one after another on one stack, with the real two seconds; only the upstream's window is compressed.
"""

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from adapters.dynamodb_window import KEY, decode
from core import waiting
from infra.local.upstream_model import worst_window
from tests.system.burst import PROMISED_S, Answered, accepted_ids, ask, await_webhooks, check_promises
from tests.system.fault_proxy import Fault
from tests.system.faulty_stack import CALLS, WINDOW_S, FaultyStack, faulty_stack
from tests.system.machine import whole_machine
from tests.system.stack import API_KEY, RunningStack

pytestmark = pytest.mark.integration

WORKERS = 4
DRAIN_LIMIT_S = 20
DONE_LIMIT_S = 100
POLL_S = 0.2
FAULTS = [fault for fault in Fault if fault is not Fault.NONE]
# What a caller without a webhook is told of an upstream that was tried.
TRIED = {
    Fault.REFUSES: 502,
    Fault.HANGS: 504,
    Fault.DRIPS: 504,
    Fault.RESETS: 502,
    Fault.SLOW: 504,
    Fault.ERRORS: 502,
    Fault.GARBAGE: 502,
    Fault.THROTTLES: 429,
}
NO_SIGNATURE = frozenset({429, 502, 504})


@dataclass(frozen=True)
class Row:
    """What is out of order, and what a caller is told then: with a webhook, and without."""

    name: str
    services: tuple[str, ...]
    with_webhook: int
    without: frozenset[int] | Mapping[Fault, int]
    upstream: Fault = Fault.NONE
    faults: Sequence[Fault] = tuple(FAULTS)

    def is_told_without(self, fault: Fault, status: int) -> bool:
        """Whether this is what a caller without a webhook is to be told."""
        if isinstance(self.without, Mapping):
            return status == self.without[fault]
        return status in self.without

    def turned(self, fault: Fault) -> dict[str, Fault]:
        return {"upstream": self.upstream, **dict.fromkeys(self.services, fault)}


SECRETS = Row("secrets", ("secrets",), 503, frozenset({503}))
DATABASE = Row("dynamodb", ("dynamodb",), 503, frozenset({503}))
UPSTREAM = Row("upstream", ("upstream",), 202, TRIED)
# The upstream refuses too, so that it was tried, and every request has to be queued.
QUEUES = Row("sqs", ("sqs",), 202, NO_SIGNATURE, Fault.REFUSES)
NOBODY_TOLD = Row(
    "sqs, waking", ("sqs", "waking"), 202, NO_SIGNATURE, Fault.REFUSES, (Fault.REFUSES, Fault.HANGS)
)


@dataclass(frozen=True)
class Cell:
    """What came of one fault of one row: two requests with a webhook, one without."""

    row: Row
    fault: Fault
    answers: list[Answered]

    @property
    def worst_s(self) -> float:
        return max(answer.took_s for answer in self.answers)

    def wrongs(self) -> list[str]:
        """Say what is wrong with it: nothing should be."""
        *with_webhook, without = self.answers
        wrongs = [
            f"{answer.status} instead of {self.row.with_webhook}"
            for answer in with_webhook
            if answer.status != self.row.with_webhook
        ]
        if not self.row.is_told_without(self.fault, without.status):
            wrongs.append(f"{without.status} without a webhook")
        if self.worst_s > PROMISED_S:
            wrongs.append(f"took {self.worst_s:.2f} s")
        # The front answers in the place of a function that is late.
        wrongs += ["late" for answer in self.answers if answer.body.get("type") == "about:blank"]
        return [f"{self.row.name} {self.fault}: {wrong}" for wrong in wrongs]

    def __str__(self) -> str:
        statuses = "/".join(str(answer.status) for answer in self.answers[1:])
        return f"{statuses} {self.worst_s:.2f}"


async def ask_without_webhook(client: httpx.AsyncClient, stack: RunningStack, message: str) -> Answered:
    """Send one request that is not to be queued."""
    started_s = time.monotonic()
    response = await client.get(
        f"{stack.api_url}/crypto/sign", params={"message": message}, headers={"Authorization": API_KEY}
    )
    return Answered(message, response.status_code, response.json(), time.monotonic() - started_s)


async def answered(faulty: FaultyStack, row: Row, fault: Fault) -> Cell:
    """Ask three times at once while the fault is on."""
    await asyncio.to_thread(lambda: faulty.proxy.turn(**row.turned(fault)))
    with whole_machine():
        async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
            questions = [
                ask(client, faulty.running, f"{row.name} {fault} 1"),
                ask(client, faulty.running, f"{row.name} {fault} 2"),
                ask_without_webhook(client, faulty.running, f"{row.name} {fault} 3"),
            ]
            return Cell(row, fault, await asyncio.gather(*questions))


async def drained(faulty: FaultyStack, cell: Cell) -> None:
    """Lift the fault and wait until all is done, so that the next cell's requests try the upstream again."""
    await asyncio.to_thread(faulty.proxy.turn)
    await await_webhooks(faulty.running, accepted_ids(cell.answers), DRAIN_LIMIT_S)
    for _ in range(round(DRAIN_LIMIT_S / POLL_S)):
        if await asyncio.to_thread(_at_rest, faulty.running):
            return
        await asyncio.sleep(POLL_S)


def _at_rest(stack: RunningStack) -> bool:
    """Whether a newcomer would be called at once: every slot is free, and nobody waits."""
    table = stack.resources["WindowTable"]
    gate = decode(stack.session.client("dynamodb").get_item(TableName=table, Key=KEY)["Item"])
    now_ms = time.time_ns() // 1_000_000
    return gate.window.free_slots(now_ms) == CALLS and not waiting.total(gate.waiting)


async def matrix(faulty: FaultyStack) -> list[Cell]:
    """Go through all cells. Secrets first: no worker has the keys yet, nor gets them before that row ends."""
    await faulty.warm(WORKERS)
    cells = [await answered(faulty, SECRETS, fault) for fault in SECRETS.faults]
    await asyncio.to_thread(faulty.proxy.turn)
    await faulty.warm(WORKERS, "/health")
    for fault in UPSTREAM.faults:
        cells.append(await answered(faulty, UPSTREAM, fault))
        await drained(faulty, cells[-1])
    for row in (QUEUES, NOBODY_TOLD, DATABASE):
        cells += [await answered(faulty, row, fault) for fault in row.faults]
    return cells


def table(cells: Sequence[Cell]) -> str:
    """Show statuses (with a webhook / without) and the slowest answer in seconds."""
    rows = {cell.row.name: "" for cell in cells}
    for cell in cells:
        rows[cell.row.name] += f"{cell!s:>14}"
    header = " " * 12 + "".join(f"{fault:>14}" for fault in FAULTS)
    return "\n".join([header, *(f"{name:12}{line}" for name, line in rows.items())])


def calls_in_worst_window(faulty: FaultyStack) -> int:
    """Count every call as it came, those too that the proxy did not hand on."""
    calls = [request for request in faulty.proxy.services["upstream"].requests if "/sign" in request.path]
    return worst_window([call.at_s for call in calls], WINDOW_S)


def test_every_fault_is_answered_in_time_and_truly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever fails, and however: two seconds, a true status, no 202 without a webhook, no call too many."""

    async def scenario(faulty: FaultyStack) -> None:
        cells = await matrix(faulty)
        with capsys.disabled():
            sys.stdout.write(f"\n{table(cells)}\nworst {max(cell.worst_s for cell in cells):.2f} s\n")
        assert [wrong for cell in cells for wrong in cell.wrongs()] == []
        await asyncio.to_thread(faulty.proxy.turn)
        answers = [answer for cell in cells for answer in cell.answers]
        async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
            answers.append(await ask(client, faulty.running, "all is well again"))
        promised = [answer for answer in answers if answer.status in {200, 202}]
        await check_promises(faulty.running, promised, DONE_LIMIT_S, calls=CALLS)
        assert calls_in_worst_window(faulty) <= CALLS

    with faulty_stack(tmp_path, secrets=FAULTS[0]) as faulty:
        asyncio.run(scenario(faulty))
