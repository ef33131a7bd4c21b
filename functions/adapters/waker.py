"""Wakes the processor by an asynchronous invocation."""

from typing import Any

from adapters.aws import in_thread


class LambdaWaker:
    """A `ports.Waker` on a boto3 Lambda client."""

    def __init__(self, client: Any, function: str) -> None:
        self._client = client
        self._function = function

    async def wake(self) -> None:
        """Start a run, without waiting for it."""
        await in_thread(
            self._client.invoke,
            FunctionName=self._function,
            InvocationType="Event",
            Payload=b'{"source":"wake"}',
        )
