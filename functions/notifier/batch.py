"""One invocation: delivers the messages it was given, and receives more while some of them are slow.

Lambda gives an invocation ten messages and waits for the slowest, up to 15 s. Few invocations run at once, so
a few receivers that hang would delay all others. A waiting attempt costs almost nothing, so the invocation
receives further messages itself during that time.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import InvalidMessage, Unavailable, described
from core.messages import NotificationMessage, decode_webhooks
from notifier.queues import ReceiverQueues
from ports import Queue, Received, Telemetry

MESSAGES_MAX = 400
RECEIVE_MAX = 10
RECEIVE_WAIT_MS = 1_000
QUICK_S = 0.25


class Batch:
    """The messages of one invocation. `stop_mono_s`: no message is received later, by the loop's clock."""

    def __init__(
        self, receiver_queues: ReceiverQueues, queue: Queue, telemetry: Telemetry, *, stop_mono_s: float
    ) -> None:
        self._receiver_queues = receiver_queues
        self._queue = queue
        self._telemetry = telemetry
        self._stop_mono_s = stop_mono_s
        self._handled: list[str] = []

    async def run(self, records: Sequence[Mapping[str, Any]]) -> list[str]:
        """Deliver the messages; return the ids of those given ones that failed and must be received again."""
        given = {
            record["messageId"]: asyncio.create_task(self._deliver(record["body"])) for record in records
        }
        under_way: set[asyncio.Task[bool]] = set(given.values())
        if under_way:
            _, under_way = await asyncio.wait(under_way, timeout=QUICK_S)
        while under_way:
            more = await self._receive_more(MESSAGES_MAX - len(under_way))
            # If more messages were received, receive again at once.
            _, under_way = await asyncio.wait(
                under_way | more,
                timeout=0 if more else QUICK_S,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if len(self._handled) >= RECEIVE_MAX:
                await self._delete_handled()
        await self._delete_handled()
        await self._receiver_queues.finish()
        return [message_id for message_id, task in given.items() if not task.result()]

    async def _receive_more(self, room: int) -> set["asyncio.Task[bool]"]:
        """Receive further messages, if there is room and time."""
        if room <= 0 or asyncio.get_running_loop().time() >= self._stop_mono_s:
            return set()
        try:
            received = await self._queue.receive(min(room, RECEIVE_MAX), RECEIVE_WAIT_MS)
        except Unavailable:
            return set()
        return {asyncio.create_task(self._deliver_received(message)) for message in received}

    async def _deliver_received(self, message: Received) -> bool:
        """Deliver a message. If that fails, it is received again after its visibility timeout."""
        if await self._deliver(message.text):
            self._handled.append(message.receipt)
        return True

    async def _delete_handled(self) -> None:
        """Delete received messages that are done. One that stays is received again, and dropped then."""
        handled, self._handled = self._handled, []
        with contextlib.suppress(Unavailable):
            await self._queue.delete(handled)

    async def _deliver(self, text: str) -> bool:
        try:
            await self._receiver_queues.deliver(text)
        except Exception as error:  # noqa: BLE001 - one bad record must not stop the others
            self._telemetry.event(
                "notification_failed",
                {"NotificationsFailed": 1},
                request_id=_request_id(text),
                reason=described(error),
            )
            return False
        return True


def _request_id(text: str) -> str:
    """Return the id in a message of one webhook; empty for any other message."""
    try:
        message = decode_webhooks(text)
    except InvalidMessage:
        return ""
    return message.request_id if isinstance(message, NotificationMessage) else ""
