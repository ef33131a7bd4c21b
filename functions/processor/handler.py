"""AWS Lambda's entry point for the processor: every minute, and when it is woken."""

import os
from typing import Any

from adapters.aws import event_loop
from adapters.telemetry import identified
from processor.wiring import Services, wire


async def run(services: Services) -> dict[str, int]:
    """Make one run."""
    await services.secrets.get()
    calls = await services.drain().run()
    services.telemetry.event("run_ended", {"ProcessorRuns": 1, **await services.waiting()}, calls=calls)
    return {"calls": calls}


def _handler(services: Services) -> Any:
    loop = event_loop()

    def handle(_event: object, _context: object) -> dict[str, int]:
        return loop.run_until_complete(run(services))

    return handle


handler = identified(_handler(wire(os.environ)))
