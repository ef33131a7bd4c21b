"""Checks the running containers: `docker compose up --detach && python -m tests.deploy.compose`.

Sixty requests in a minute through port 8000: each answered in two seconds, each signed and delivered in the
end, never more than ten calls in a window, as the stand-in counts them. A 503 promises nothing (on a machine
too busy for so many containers there are some), so it is counted, and nothing more.
"""

import asyncio
import os
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial

import httpx

from infra.docker.localstack import LocalStackSession
from infra.local.deploy import deployed
from infra.local.settings import LocalSettings
from tests.integration.burst import check_promises, send_burst

REQUESTS = 60
INTERVAL_S = 1.0
DONE_LIMIT_S = 1_200

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


async def main() -> None:
    """Run the check; ends with an AssertionError if a promise is broken."""
    settings = LocalSettings.read(os.environ)
    containers = Containers.of(settings)
    report("deployed:", *sorted(deployed(LocalStackSession("127.0.0.1")).resources))
    started_s = time.monotonic()
    messages = [f"containers {time.time():.0f} {number}" for number in range(REQUESTS)]
    answers = await send_burst(containers, messages, INTERVAL_S)
    times_s = sorted(answer.took_s for answer in answers)
    statuses = dict(Counter(answer.status for answer in answers))
    report(
        f"answers {statuses}, slowest {times_s[-1]:.2f} s, median {times_s[len(times_s) // 2]:.3f} s",
    )
    promised = [answer for answer in answers if answer.status != httpx.codes.SERVICE_UNAVAILABLE]
    limit = settings.calls.limits.calls
    webhooks = await check_promises(containers, promised, DONE_LIMIT_S, calls=limit)
    took_s = time.monotonic() - started_s
    report(f"{len(webhooks)} webhooks, all done in {took_s:.0f} s; never more than {limit} calls in a window")


if __name__ == "__main__":
    asyncio.run(main())
