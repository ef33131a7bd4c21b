"""AWS Lambda's entry point for the notifier: batches of the notification queue, failures told one by one."""

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from adapters.aws import event_loop
from adapters.telemetry import identified
from core.errors import described
from core.messages import decode_notification
from notifier.wiring import Services, wire


async def deliver_batch(services: Services, event: Mapping[str, Any]) -> dict[str, Any]:
    """Deliver all records side by side; return those that are to come again."""
    records = event.get("Records", [])
    done = await asyncio.gather(*(_deliver_one(services, record) for record in records))
    failed = [record["messageId"] for record, fine in zip(records, done, strict=True) if not fine]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


async def _deliver_one(services: Services, record: Mapping[str, Any]) -> bool:
    try:
        await services.deliverer.deliver(decode_notification(record["body"]))
    except Exception as error:  # noqa: BLE001 - one bad record must not hold up the others
        services.telemetry.event(
            "notification_failed",
            {"NotificationsFailed": 1},
            message_id=record["messageId"],
            reason=described(error),
        )
        return False
    return True


def _handler(services: Services) -> Any:
    loop = event_loop()

    def handle(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
        return loop.run_until_complete(deliver_batch(services, event))

    return handle


handler = identified(_handler(wire(os.environ)))
