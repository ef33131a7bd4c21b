"""AWS Lambda's entry point for the notifier: batches of both notification queues."""

import os
from collections.abc import Mapping
from typing import Any

from adapters.aws import event_loop
from adapters.telemetry import identified
from notifier.queues import Lane
from notifier.wiring import Notifier, wire


async def deliver_batch(notifier: Notifier, event: Mapping[str, Any]) -> dict[str, Any]:
    """Deliver all records; return those that failed and must be received again."""
    records = event.get("Records", [])
    sources = {str(record.get("eventSourceARN", "")).rpartition(":")[2] for record in records}
    lane = Lane.RETRIES if notifier.retry_queue_name in sources else Lane.FIRST
    failed = await notifier.batch(lane).run(records)
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def _handler(notifier: Notifier) -> Any:
    loop = event_loop()

    def handle(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
        return loop.run_until_complete(deliver_batch(notifier, event))

    return handle


handler = identified(_handler(wire(os.environ)))
