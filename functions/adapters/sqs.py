"""Queues on Amazon SQS."""

import math
from collections.abc import Sequence
from typing import Any

from adapters.aws import in_thread
from core.errors import Unavailable
from ports import Received

BATCH_MAX = 10
DELAY_S_MAX = 900
WAIT_S_MAX = 20
COUNT = "ApproximateNumberOfMessages"


class SqsQueue:
    """A `ports.Queue` on a boto3 SQS client. The client's read time-out must be longer than any wait."""

    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self._url = url

    async def send(self, texts: Sequence[str], *, delay_ms: int = 0) -> None:
        """Send messages, ten to a request; a delay is rounded up to whole seconds."""
        delay_s = min(math.ceil(delay_ms / 1000), DELAY_S_MAX)
        for start in range(0, len(texts), BATCH_MAX):
            entries = [
                {"Id": str(index), "MessageBody": text, "DelaySeconds": delay_s}
                for index, text in enumerate(texts[start : start + BATCH_MAX])
            ]
            answer = await in_thread(self._client.send_message_batch, QueueUrl=self._url, Entries=entries)
            if answer.get("Failed"):
                raise Unavailable("SendMessageBatch: some failed")

    async def receive(self, limit: int, wait_ms: int) -> list[Received]:
        """Receive messages; a wait is rounded down to whole seconds."""
        answer = await in_thread(
            self._client.receive_message,
            QueueUrl=self._url,
            MaxNumberOfMessages=min(limit, BATCH_MAX),
            WaitTimeSeconds=min(wait_ms // 1000, WAIT_S_MAX),
        )
        return [Received(row["Body"], row["ReceiptHandle"]) for row in answer.get("Messages", [])]

    async def count(self) -> int:
        """Return about how many messages there are that nobody holds."""
        answer = await in_thread(
            self._client.get_queue_attributes, QueueUrl=self._url, AttributeNames=[COUNT]
        )
        return int(answer["Attributes"][COUNT])

    async def delete(self, receipts: Sequence[str]) -> None:
        """Delete messages, ten to a request. One that can't be deleted is received again, without harm."""
        for start in range(0, len(receipts), BATCH_MAX):
            entries = [
                {"Id": str(index), "ReceiptHandle": receipt}
                for index, receipt in enumerate(receipts[start : start + BATCH_MAX])
            ]
            await in_thread(self._client.delete_message_batch, QueueUrl=self._url, Entries=entries)
