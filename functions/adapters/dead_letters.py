"""Dead-letter queues on Amazon SQS."""

from collections.abc import Sequence
from typing import Any

from adapters.aws import in_thread
from adapters.sqs import BATCH_MAX, WAIT_S_MAX, SqsQueue
from ports import Received

COUNT = "ApproximateNumberOfMessages"


class SqsDeadLetters(SqsQueue):
    """A `ports.DeadLetters`: what it receives nobody else sees for `held_s`, or until it is released."""

    def __init__(self, client: Any, url: str, held_s: int) -> None:
        super().__init__(client, url)
        self._held_s = held_s

    async def count(self) -> int:
        """Return about how many there are that nobody holds."""
        answer = await in_thread(
            self._client.get_queue_attributes, QueueUrl=self._url, AttributeNames=[COUNT]
        )
        return int(answer["Attributes"][COUNT])

    async def receive(self, limit: int, wait_ms: int) -> list[Received]:
        """Receive messages and hold them; a wait is rounded down to whole seconds."""
        answer = await in_thread(
            self._client.receive_message,
            QueueUrl=self._url,
            MaxNumberOfMessages=min(limit, BATCH_MAX),
            WaitTimeSeconds=min(wait_ms // 1000, WAIT_S_MAX),
            VisibilityTimeout=self._held_s,
        )
        return [Received(row["Body"], row["ReceiptHandle"]) for row in answer.get("Messages", [])]

    async def release(self, receipts: Sequence[str]) -> None:
        """Let others receive them again at once."""
        for start in range(0, len(receipts), BATCH_MAX):
            entries = [
                {"Id": str(index), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                for index, receipt in enumerate(receipts[start : start + BATCH_MAX])
            ]
            await in_thread(self._client.change_message_visibility_batch, QueueUrl=self._url, Entries=entries)
