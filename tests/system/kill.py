"""Kills for real, and counts what becomes of the requests: `python -m tests.system.kill --help`.

On an embedded stack with compressed time. Each round has two parts. First the service is hurt while it works
off a burst: workers killed with -9 in mid-call, both queues purged, everything stopped and started again.
Then the emulator itself is killed with -9, which may lose what it had not saved yet.
"""

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from infra.local.settings import LocalSettings
from infra.local.stack import EMULATOR, Stack
from tests.system.burst import arrivals, received, stats, verified
from tests.system.stack import API_KEY, RunningStack, free_ports

COMPRESSED = {
    "UPSTREAM_WINDOW_SECONDS": "2",
    "UPSTREAM_RETRY_SECONDS": "1",
    "UPSTREAM_TIMEOUT_SECONDS": "2",
    "UPSTREAM_GRACE_SECONDS": "0.5",
    "STANDIN_OUTAGE_MIN_S": "2",
    "STANDIN_OUTAGE_MAX_S": "8",
}
CALLS = 10
SAVED_AFTER_S = 6.0  # what the embedded emulator promises: a save every 5 s, and the time that it takes
INTERVAL_S = 0.1
KILL_EVERY_S = 0.7
POLL_S = 0.5
DONE_LIMIT_S = 120.0
FUNCTIONS = ("ApiFunction", "ProcessorFunction", "NotifierFunction")


@dataclass(frozen=True, slots=True)
class Accepted:
    """A request that got a 202, and when."""

    id: str
    message: str
    at_s: float


@dataclass(slots=True)
class Round:
    """What became of one round's requests. `unknown`: younger than a save when the emulator was killed."""

    sent: int = 0
    answered: int = 0
    accepted: int = 0
    workers_killed: Counter[str] = field(default_factory=Counter)
    delivered: int = 0
    delivered_again: int = 0
    lost: list[str] = field(default_factory=list)
    unknown: int = 0
    signed_again: int = 0
    wrongly_signed_again: list[str] = field(default_factory=list)
    took_s: float = 0.0


class Victim:
    """A stack that can be hurt: everything that happens to it is by process id, and only to its own."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._settings = {**COMPRESSED, **free_ports(), "STANDIN_SEED": str(seed)}  # kept: webhook URLs hold
        self._folder = folder
        self._running: RunningStack | None = None

    @property
    def running(self) -> RunningStack:
        """The stack as it runs now."""
        assert self._running is not None
        return self._running

    @property
    def is_settled(self) -> bool:
        """Whether the last stop kept everything."""
        return not (self._folder / "unsettled").exists()

    async def start(self) -> None:
        """Start everything, on the state that is there."""
        stack = Stack(LocalSettings.read(self._settings), self._folder, lambda _line: None)
        try:
            deployment, keys = await asyncio.to_thread(stack.start)
        except BaseException:
            stack.stop()
            raise
        self._running = RunningStack(stack, deployment, keys)

    async def stop(self) -> None:
        """Stop everything, as Ctrl-C does; after a kill of the emulator, end what is left."""
        if self._running is not None:
            await asyncio.to_thread(self._running.stack.stop)
            self._running = None

    def workers(self) -> dict[str, list[int]]:
        """Return the processes in which the functions run now, by function; `StackError` if a part died."""
        self.running.stack.check()
        listing = ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(self._emulator_id())]
        lines = subprocess.run(listing, capture_output=True, text=True, check=False).stdout.splitlines()  # noqa: S603
        found: dict[str, list[int]] = {}
        for line in lines:
            process_id, arguments = line.split(maxsplit=1)
            for function in FUNCTIONS:
                if function in arguments:
                    found.setdefault(function, []).append(int(process_id))
        return found

    def kill_emulator(self) -> None:
        """Kill the emulator alone: its workers are left to find out."""
        os.kill(self._emulator_id(), signal.SIGKILL)

    def _emulator_id(self) -> int:
        return next(child.pid for child in self.running.stack.children if child.name == EMULATOR)

    async def purge_queues(self) -> None:
        """Lose every message of every queue."""
        sqs = self.running.session.client("sqs")
        for queue in ("WorkQueue", "NotificationQueue", "NotificationRetryQueue"):
            await asyncio.to_thread(sqs.purge_queue, QueueUrl=self.running.resources[queue])


class Killing:
    """Runs rounds, one after the other, on one stack."""

    def __init__(self, victim: Victim, seed: int) -> None:
        self._victim = victim
        self._random = random.Random(seed)
        self._numbers = count()

    async def run(self, requests: int, kills: int) -> Round:
        """Run both parts of a round; return the counts."""
        began_s, result = time.monotonic(), Round()
        hurt = await self._hurt_while_working(result, requests, kills)
        await self._await_webhooks(result, hurt, lost_is_allowed_after_s=None)
        await self._cut_off(result, max(4, requests // 4))
        result.took_s = time.monotonic() - began_s
        return result

    async def _hurt_while_working(self, result: Round, requests: int, kills: int) -> list[Accepted]:
        """Send a burst; kill workers meanwhile, purge the queues, and stop and start everything."""
        sending = asyncio.create_task(self._send(result, requests))
        await self._kill_workers(result, kills)
        accepted = await sending
        await self._victim.purge_queues()
        await self._kill_workers(result, 1)
        await self._victim.stop()
        assert self._victim.is_settled, "the orderly stop was cut short"
        await self._victim.start()
        return accepted

    async def _cut_off(self, result: Round, requests: int) -> None:
        """Kill the emulator when some requests are saved and some are not."""
        accepted = await self._send(result, requests)
        await asyncio.sleep(SAVED_AFTER_S)
        accepted += await self._send(result, requests)
        killed_s = time.time()
        self._victim.kill_emulator()
        await self._victim.stop()
        await self._victim.start()
        await self._await_webhooks(result, accepted, lost_is_allowed_after_s=killed_s - SAVED_AFTER_S)
        await self._count_repeats(result, accepted, killed_s)

    async def _send(self, result: Round, requests: int) -> list[Accepted]:
        async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
            tasks = []
            for _ in range(requests):
                message = f"kill {next(self._numbers)}"
                tasks.append(asyncio.create_task(self._ask(client, result, message)))
                await asyncio.sleep(INTERVAL_S)
            answers = await asyncio.gather(*tasks)
        return [answer for answer in answers if answer]

    async def _ask(self, client: httpx.AsyncClient, result: Round, message: str) -> Accepted | None:
        """Ask once. Whoever gets no answer, because its worker was killed, was promised nothing."""
        running = self._victim.running
        result.sent += 1
        with suppress(httpx.HTTPError, ValueError):
            answer = await client.get(
                f"{running.api_url}/crypto/sign",
                params={"message": message, "webhook_url": running.hook_url},
                headers={"Authorization": API_KEY},
            )
            body = answer.json()
            if answer.status_code == httpx.codes.ACCEPTED:
                result.accepted += 1
                return Accepted(body["request_id"], message, time.time())
            result.answered += answer.status_code == httpx.codes.OK
        return None

    async def _kill_workers(self, result: Round, kills: int) -> None:
        """Kill one worker after the other: of a random function, since most are the API's."""
        for _ in range(kills):
            await asyncio.sleep(KILL_EVERY_S * self._random.uniform(0.5, 1.5))
            workers = await asyncio.to_thread(self._victim.workers)
            if not workers:  # the last ones are dead, and nobody has asked for new ones yet
                continue
            function = self._random.choice(sorted(workers))
            with suppress(ProcessLookupError):
                os.kill(self._random.choice(workers[function]), signal.SIGKILL)
                result.workers_killed[function] += 1

    async def _await_webhooks(
        self, result: Round, accepted: Sequence[Accepted], *, lost_is_allowed_after_s: float | None
    ) -> None:
        """Wait for each request's webhook, check it, and count those that never come."""
        due = {row.id: row for row in accepted}
        excused = {
            row.id
            for row in accepted
            if lost_is_allowed_after_s is not None and row.at_s > lost_is_allowed_after_s
        }
        forgotten = await self._forgotten(excused)
        known = due.keys() - forgotten
        end_s = time.monotonic() + DONE_LIMIT_S
        while not known <= (webhooks := await received(self._victim.running)).keys():
            if time.monotonic() > end_s:
                break
            await asyncio.sleep(POLL_S)
        came = {key: webhooks[key] for key in due if key in webhooks}
        for key, row in came.items():
            assert row["verified"]
            assert await verified(self._victim.running, due[key].message, row["body"]["signature"])
        result.delivered += len(came)
        result.unknown += len(forgotten - came.keys())
        result.lost += sorted(known - came.keys())

    async def _forgotten(self, request_ids: set[str]) -> set[str]:
        """Return those of which the service knows nothing any more."""
        async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
            url = f"{self._victim.running.api_url}/crypto/requests"
            answers = {
                key: await client.get(f"{url}/{key}", headers={"Authorization": API_KEY})
                for key in request_ids
            }
        return {key for key, answer in answers.items() if answer.status_code == httpx.codes.NOT_FOUND}

    async def _count_repeats(self, result: Round, accepted: Sequence[Accepted], killed_s: float) -> None:
        """Count messages signed twice: the first success was never recorded, or was lost with the emulator.

        One whose webhook had come was recorded; where that was before a save, it must not be signed again.
        """
        rows = await arrivals(self._victim.running)
        result.delivered_again = len(rows) - len({row["webhook_id"] for row in rows})
        saved_ids = {row["webhook_id"] for row in rows if row["t"] < killed_s - SAVED_AFTER_S}
        saved = {row.message for row in accepted if row.id in saved_ids}
        calls = (await stats(self._victim.running))["arrivals"]
        signed = Counter(row["message"] for row in calls if row["outcome"] == "signed")
        signed_later = {row["message"] for row in calls if row["outcome"] == "signed" and row["t"] > killed_s}
        result.signed_again = sum(times > 1 for times in signed.values())
        result.wrongly_signed_again = sorted(saved & signed_later)


async def run(folder: Path, *, rounds: int, requests: int, kills: int, seed: int) -> tuple[list[Round], Any]:
    """Run all rounds on one stack; return their counts, and what the upstream saw."""
    victim = Victim(folder, seed)
    killing = Killing(victim, seed)
    try:
        await victim.start()
        results = [await killing.run(requests, kills) for _ in range(rounds)]
        return results, await stats(victim.running)
    finally:
        await victim.stop()


def show(results: Sequence[Round], seen: dict[str, Any]) -> None:
    """Print the counts of each round, and the worst window of all."""
    table = Table(
        "sent",
        "200",
        "202",
        "no answer",
        "webhooks",
        "lost",
        "unknown",
        "signed again",
        "workers killed",
        "seconds",
    )
    for row in results:
        killed = ", ".join(f"{name[:-8]} {times}" for name, times in sorted(row.workers_killed.items()))
        none = row.sent - row.answered - row.accepted
        numbers = (row.sent, row.answered, row.accepted, none, row.delivered, len(row.lost), row.unknown)
        table.add_row(*map(str, numbers), str(row.signed_again), killed, f"{row.took_s:.0f}")
    console = Console(width=120, highlight=False)
    console.print(table)
    calls, worst, limit = seen["arrivals_total"], seen["worst_window"], seen["limit"]
    console.print(
        f"upstream: {calls} calls, worst window {worst} of {limit}, {seen['violations']} violations"
    )
    console.print(f"webhooks that came again: {results[-1].delivered_again}")
    console.print(f"lost: {[request_id for row in results for request_id in row.lost]}")
    console.print(f"recorded, yet signed again: {[row.wrongly_signed_again for row in results]}")


def kept(results: Sequence[Round], seen: dict[str, Any]) -> bool:
    """Whether every promise was: nothing lost, nothing recorded forgotten, the window never passed."""
    good = all(not row.lost and not row.wrongly_signed_again for row in results)
    return good and seen["violations"] == 0 and seen["worst_window"] <= CALLS


def main() -> int:
    """Run by the command line; the exit status says whether the promises were kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument(
        "--requests", type=int, default=60, help="of the burst; a round has half as many more"
    )
    parser.add_argument("--kills", type=int, default=10, help="of workers, in each round")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.mkdtemp()), help="for state and logs")
    given = parser.parse_args()
    results, seen = asyncio.run(run(**vars(given)))
    show(results, seen)
    return 0 if kept(results, seen) else 1


if __name__ == "__main__":
    sys.exit(main())
