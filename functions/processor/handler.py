"""AWS Lambda's entry point for the processor: the schedule each minute, and wake-ups from the work queue."""

import os
from collections.abc import Mapping
from typing import Any

from adapters.aws import event_loop
from adapters.telemetry import identified
from core.errors import InvalidMessage
from core.messages import WakeUp, decode_wake_up
from processor.wiring import Services, wire


async def run(services: Services, event: Mapping[str, Any]) -> dict[str, Any]:
    """Make one run. Return the ids of unreadable messages: SQS moves them to the dead-letter queue."""
    records = event.get("Records")
    scheduled = records is None
    wake_ups, unreadable = _decoded(services, records or [])
    await services.secrets.get()
    if scheduled:
        await services.minutes.note()
    calls = await services.processor.run(wake_ups)
    waiting = await services.waiting() if scheduled else {}
    services.telemetry.event("run_ended", waiting, calls=calls)
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in unreadable]}


def _decoded(services: Services, records: list[Mapping[str, Any]]) -> tuple[list[WakeUp], list[str]]:
    wake_ups, unreadable = list[WakeUp](), list[str]()
    for record in records:
        try:
            wake_ups.append(decode_wake_up(record["body"]))
        except InvalidMessage as error:
            unreadable.append(record["messageId"])
            services.telemetry.event("message_unreadable", message_id=record["messageId"], reason=str(error))
    return wake_ups, unreadable


def _handler(services: Services) -> Any:
    loop = event_loop()

    def handle(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
        return loop.run_until_complete(run(services, event))

    return handle


handler = identified(_handler(wire(os.environ)))
