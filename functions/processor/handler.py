"""AWS Lambda's entry point for the processor: every minute, and when it is woken."""

import os
from collections.abc import Mapping
from typing import Any

from adapters.aws import event_loop
from adapters.telemetry import identified
from processor.wiring import Services, wire

WOKEN = "wake"


async def run(services: Services, *, scheduled: bool) -> dict[str, int]:
    """Make one run."""
    await services.secrets.get()
    if scheduled:
        await services.minutes.note()
    calls = await services.drain().run()
    services.telemetry.event("run_ended", {"ProcessorRuns": 1, **await services.waiting()}, calls=calls)
    return {"calls": calls}


def _handler(services: Services) -> Any:
    loop = event_loop()

    def handle(event: Mapping[str, Any], _context: object) -> dict[str, int]:
        scheduled = event.get("source") != WOKEN
        return loop.run_until_complete(run(services, scheduled=scheduled))

    return handle


handler = identified(_handler(wire(os.environ)))
