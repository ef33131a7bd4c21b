"""Wakes the processor by an asynchronous invocation."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from adapters.aws import in_thread


class LambdaWaker:
    """A `ports.Waker` on a boto3 Lambda client, which is made at the first wake: few requests need it."""

    def __init__(self, new_client: Callable[[], Any], function: str) -> None:
        self._new_client = new_client
        self._function = function

    @cached_property
    def _client(self) -> Any:
        return self._new_client()

    async def wake(self) -> None:
        """Start a run, without waiting for it."""
        await in_thread(
            lambda **arguments: self._client.invoke(**arguments),  # noqa: PLW0108 - made in the thread
            FunctionName=self._function,
            InvocationType="Event",
            Payload=b'{"source":"wake"}',
        )
