"""Reads from Lambda which settings are deployed now; this instance may be of an older deployment."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from adapters.aws import in_thread
from core.config import CallSettings, Reader
from core.errors import SettingError, Unavailable
from core.window import Limits


class LambdaDeployment:
    """A `ports.Deployment` on a boto3 Lambda client, which is made only if needed: few runs need it."""

    def __init__(self, new_client: Callable[[], Any], function: str) -> None:
        self._new_client = new_client
        self._function = function

    @cached_property
    def _client(self) -> Any:
        return self._new_client()

    async def limits(self) -> Limits:
        """Return the limits among the function's variables as Lambda has them; raises `Unavailable`."""
        answer = await in_thread(
            lambda **arguments: self._client.get_function_configuration(**arguments),  # noqa: PLW0108 - made in the thread
            FunctionName=self._function,
        )
        try:
            return CallSettings.read(Reader(answer["Environment"]["Variables"])).limits
        except (KeyError, SettingError) as error:  # reading is not permitted, or another version wrote them
            raise Unavailable("the deployed settings can't be read") from error
