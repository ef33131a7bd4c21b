"""A `ports.Deployment` that says what it is told."""

from core.errors import Unavailable
from core.window import Limits


class FakeDeployment:
    """The limits that were deployed last; None while Lambda does not answer."""

    def __init__(self, limits: Limits | None) -> None:
        self.deployed = limits

    async def limits(self) -> Limits:
        """Return the limits; raises `Unavailable` if there are none."""
        if self.deployed is None:
            raise Unavailable("GetFunctionConfiguration: timeout")
        return self.deployed
