"""Deployed again while callers call and accepted requests wait: nobody notices, and nothing is lost."""

import asyncio
import contextlib
import shutil
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.dynamodb_window import KEY, decode
from infra import FUNCTIONS
from infra.local.deploy import deploy
from infra.local.package import Package, archive_of_code, digest_of_code
from infra.local.settings import LocalSettings
from infra.local.upstream_model import worst_window
from tests.system.burst import Answered, accepted_ids, arrivals, ask, await_webhooks, stats, verified
from tests.system.kill import COMPRESSED
from tests.system.stack import RunningStack, free_ports, running_stack

pytestmark = pytest.mark.integration

SHORT_OUTAGES = {"STANDIN_OUTAGE_MIN_S": "1", "STANDIN_OUTAGE_MAX_S": "4"}
WINDOW_S = float(COMPRESSED["UPSTREAM_WINDOW_SECONDS"])
CALLS, FEWER_CALLS = 10, 5
REFUSED_HOST = "refused.test"
KEPT = ("SigningTable", "WindowTable", "WorkQueue", "NotificationQueue", "Secret")
SEND_EVERY_S = 0.4
BETWEEN_S = 1.5
DONE_LIMIT_S = 60.0
APPLIED_LIMIT_S = 60.0


def say(line: str) -> None:
    """Print a line: `pytest -s` shows it."""
    sys.stdout.write(line + "\n")


@dataclass
class Callers:
    """Call evenly, whatever happens, until they are told to stop."""

    running: RunningStack
    timed: list[tuple[float, Answered]] = field(default_factory=list)
    _numbers: "count[int]" = field(default_factory=count)

    @property
    def answers(self) -> list[Answered]:
        return [answer for _, answer in self.timed]

    async def call(self) -> None:
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(timeout=30, limits=limits, trust_env=False) as client:
            asking = set[asyncio.Task[None]]()
            try:
                while True:
                    asking.add(asyncio.create_task(self._ask(client)))
                    await asyncio.sleep(SEND_EVERY_S)
            finally:
                await asyncio.gather(*asking)

    async def _ask(self, client: httpx.AsyncClient) -> None:
        answer = await ask(client, self.running, f"update {next(self._numbers)}")
        self.timed.append((time.time(), answer))


async def cancelled(task: "asyncio.Task[None]") -> None:
    """Cancel a task and see it end; what it failed of meanwhile is raised."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def changed_code(folder: Path, version: int) -> Package:
    """Return the functions' code with a line more."""
    code = folder / f"functions-{version}"
    shutil.copytree(FUNCTIONS, code, ignore=shutil.ignore_patterns("__pycache__"))
    with (code / "core" / "config.py").open("a") as file:
        file.write(f"\n# version {version}\n")
    return Package(digest_of_code(code), lambda: archive_of_code(code), sysconfig.get_path("purelib"))


async def update(running: RunningStack, package: Package, **settings: str) -> float:
    """Deploy into the stack that runs; return when that began."""
    began_s, before = time.time(), code_of(running)
    new = LocalSettings.read(settings)
    deployment = await asyncio.to_thread(deploy, running.session, new, running.keys, package)
    moved = {name for name in KEPT if deployment.resources[name] != running.resources[name]}
    assert not moved
    assert deployment.api_url == running.deployment.api_url
    assert code_of(running) != before
    say(f"updated in {time.time() - began_s:.1f} s")
    return began_s


def code_of(running: RunningStack) -> str:
    """Return the digest of the code that callers reach."""
    client, name = running.session.client("lambda"), running.resources["ApiFunction"]
    digest: str = client.get_function_configuration(FunctionName=name)["CodeSha256"]
    return digest


async def answer_with_refused_host(running: RunningStack) -> int:
    """Ask with a webhook to the host that a setting refuses; return the status once a worker has started."""
    end_s = time.monotonic() + APPLIED_LIMIT_S
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        while time.monotonic() < end_s:
            answer = await ask(client, running, "asked again", hook=f"http://{REFUSED_HOST}/hook")
            if answer.status != 503:
                return answer.status
    raise AssertionError("no worker has started")


async def limit_is(running: RunningStack, calls: int) -> float:
    """Return once the window has that many slots, and when it was seen to."""
    client, table = running.session.client("dynamodb"), running.resources["WindowTable"]
    end_s = time.monotonic() + APPLIED_LIMIT_S
    while time.monotonic() < end_s:
        item = await asyncio.to_thread(client.get_item, TableName=table, Key=KEY, ConsistentRead=True)
        if len(decode(item["Item"]).window.slots) == calls:
            return time.time()
        await asyncio.sleep(0.05)
    raise AssertionError(f"the window never got {calls} slots")


def test_an_update_in_place_loses_nothing(tmp_path: Path) -> None:
    """Code and settings change twice under load: every promise is kept; a lower limit holds once applied."""
    settings = {**COMPRESSED, **SHORT_OUTAGES, **free_ports()}
    began_s = time.monotonic()
    with running_stack(tmp_path / "stack", **settings) as running:
        say(f"started, first deployment included, in {time.monotonic() - began_s:.1f} s")
        applied_s = asyncio.run(scenario(running, tmp_path, settings))
        check_limits(asyncio.run(stats(running)), applied_s)


async def scenario(running: RunningStack, folder: Path, settings: dict[str, str]) -> float:
    """Call, update twice meanwhile, and wait for every webhook; return when the lower limit was applied."""
    callers = Callers(running)
    calling = asyncio.create_task(callers.call())
    await asyncio.sleep(BETWEEN_S)
    first_s = await update(running, changed_code(folder, 1), **settings, SIGNATURE_TTL_SECONDS="900")
    await asyncio.sleep(BETWEEN_S)
    assert await answer_with_refused_host(running) in {200, 202}
    lower = {**settings, "UPSTREAM_LIMIT": str(FEWER_CALLS), "WEBHOOK_DENY_HOSTS": REFUSED_HOST}
    second_s = await update(running, changed_code(folder, 2), **lower)
    assert await answer_with_refused_host(running) == 422
    applied_s = await limit_is(running, FEWER_CALLS)
    await asyncio.sleep(BETWEEN_S)
    await cancelled(calling)
    webhooks = await await_webhooks(running, accepted_ids(callers.answers), DONE_LIMIT_S)
    await check(running, callers.answers, webhooks)
    check_waiting(callers, webhooks, [first_s, second_s])
    return applied_s


async def check(
    running: RunningStack, answers: Sequence[Answered], webhooks: dict[str, dict[str, Any]]
) -> None:
    """Who was promised a webhook got it, and it is right; who was not was told so."""
    statuses = Counter(row.status for row in answers)
    say(f"{statuses}, the slowest in {max(row.took_s for row in answers):.2f} s")
    assert statuses.keys() <= {200, 202, 429, 503}
    accepted = {row.body["request_id"]: row.message for row in answers if row.status == 202}
    assert set(webhooks) == set(accepted), f"{len(accepted) - len(webhooks)} webhooks are missing"
    for key, row in webhooks.items():
        assert row["verified"]
        assert await verified(running, accepted[key], row["body"]["signature"])
    refused = {row.body["request_id"] for row in answers if row.status == 429}
    assert not refused & {row["webhook_id"] for row in await arrivals(running)}


def check_waiting(callers: Callers, webhooks: dict[str, dict[str, Any]], updates_s: Sequence[float]) -> None:
    """Over each update somebody waited for a webhook; else it proves nothing."""
    accepted_s = {row.body["request_id"]: at_s for at_s, row in callers.timed if row.status == 202}
    for update_s in updates_s:
        assert any(at_s < update_s < webhooks[key]["t"] for key, at_s in accepted_s.items())


def check_limits(seen: dict[str, Any], applied_s: float) -> None:
    """Never more than the limit in any window, and from its change on never more than the new one."""
    times_s = sorted(row["t"] for row in seen["arrivals"])
    assert seen["violations"] == 0
    assert worst_window(times_s, WINDOW_S) <= CALLS
    later_s = [time_s for time_s in times_s if time_s > applied_s]
    assert later_s, "nothing was called after the change: it proves nothing"
    assert worst_window(later_s, WINDOW_S) <= FEWER_CALLS
