"""Checks the running containers: `docker compose up --detach`, then `make compose-check`.

Sixty requests in a minute through port 8000: each answered in two seconds, each signed and delivered in the
end, never more than ten calls in a window, as the stand-in counts them. With `--restarts` every container is
restarted meanwhile, LocalStack is killed, and all of them are taken down and started again: whoever got a 202
is notified all the same. What promises nothing (a 503, or no answer) is counted, and nothing more.
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import httpx

from infra import ROOT
from infra.docker.localstack import LocalStackSession
from infra.local.deploy import deployed
from infra.local.settings import LocalSettings
from tests.system.burst import Answered, ask, check_promises

REQUESTS = 60
INTERVAL_S = 1.0
INTERVAL_DISTURBED_S = 4.0
DONE_LIMIT_S = 1_200
HEALTHY_LIMIT_S = 180
PAUSE_S = 5.0
PROMISED = frozenset({httpx.codes.OK, httpx.codes.ACCEPTED})
RESTARTS: Sequence[Sequence[Sequence[str]]] = (
    [["restart", "inbox"]],
    [["restart", "upstream"]],
    [["restart", "front"]],
    [["restart", "localstack"]],
    [["kill", "localstack"], ["up", "--detach"]],
    [["down"], ["up", "--detach"]],
)

report = partial(print, flush=True)


@dataclass(frozen=True)
class Containers:
    """The stack of docker-compose.yml as it is seen from outside; webhooks go to it from inside."""

    api_url: str
    upstream_url: str
    inbox_url: str
    hook_url: str = "http://inbox:8200/hook"

    @classmethod
    def of(cls, settings: LocalSettings) -> "Containers":
        return cls(settings.api_url, settings.calls.url, settings.inbox_url)


async def send(containers: Containers, messages: Sequence[str], interval_s: float) -> list[Answered]:
    """Send at a steady pace, whether or not those before are answered; return the answers there were."""
    limits = httpx.Limits(max_connections=len(messages))
    async with httpx.AsyncClient(timeout=10, limits=limits, trust_env=False) as client:
        tasks = []
        for message in messages:
            tasks.append(asyncio.create_task(ask(client, containers, message)))
            await asyncio.sleep(interval_s)
        results = await asyncio.gather(*tasks, return_exceptions=True)
    return [result for result in results if isinstance(result, Answered)]


async def restart_everything(containers: Containers) -> None:
    """Carry out each step, and wait until callers are served again."""
    for step in RESTARTS:
        await asyncio.sleep(PAUSE_S)
        started_s = time.monotonic()
        for command in step:
            await asyncio.to_thread(_compose, command)
        await _healthy(containers)
        said = ", then ".join(" ".join(command) for command in step)
        report(f"{said}: served again after {time.monotonic() - started_s:.0f} s")


def _compose(command: Sequence[str]) -> None:
    """Run docker-compose, of whichever generation is here."""
    program = ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]
    done = subprocess.run([*program, *command], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    assert done.returncode == 0, done.stderr


async def _healthy(containers: Containers) -> None:
    end_s = time.monotonic() + HEALTHY_LIMIT_S
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
        while time.monotonic() < end_s:
            try:
                if (await client.get(f"{containers.api_url}/health")).is_success:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(1)
    raise AssertionError("not served again")


async def main(*, restarts: bool) -> None:
    """Run the check; ends with an AssertionError if a promise is broken."""
    settings = LocalSettings.read(os.environ)
    containers = Containers.of(settings)
    report(f"deployed: {len(deployed(LocalStackSession('127.0.0.1')).resources)} resources")
    started_s = time.monotonic()
    messages = [f"containers {time.time():.0f} {number}" for number in range(REQUESTS)]
    interval_s = INTERVAL_DISTURBED_S if restarts else INTERVAL_S
    sending = asyncio.create_task(send(containers, messages, interval_s))
    if restarts:
        await restart_everything(containers)
    answers = await sending
    times_s = sorted(answer.took_s for answer in answers)
    statuses = Counter(answer.status for answer in answers) + Counter({0: len(messages) - len(answers)})
    report(
        f"answers {dict(statuses)}, slowest {times_s[-1]:.2f} s, median {times_s[len(times_s) // 2]:.3f} s"
    )
    promised = [answer for answer in answers if answer.status in PROMISED]
    limit = settings.calls.limits.calls
    webhooks = await check_promises(containers, promised, DONE_LIMIT_S * (1 + restarts), calls=limit)
    took_s = time.monotonic() - started_s
    report(f"{len(webhooks)} webhooks, all done in {took_s:.0f} s; never more than {limit} calls in a window")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--restarts", action="store_true", help="disturb everything meanwhile")
    asyncio.run(main(restarts=parser.parse_args().restarts))
