"""Wakes the processor by an asynchronous invocation."""

from collections.abc import Callable
from functools import cache
from typing import Any

from adapters.aws import in_thread


class LambdaWaker:
    """A `ports.Waker` on a boto3 Lambda client, which is made at the first wake: few requests need it."""

    def __init__(self, new_client: Callable[[], Any], function: str) -> None:
        self._client = cache(new_client)
        self._function = function

    async def wake(self) -> None:
        """Start a run, without waiting for it."""
        await in_thread(
            lambda **arguments: self._client().invoke(**arguments),
            FunctionName=self._function,
            InvocationType="Event",
            Payload=b'{"source":"wake"}',
        )
