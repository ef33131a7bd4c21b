"""What the API's routes need, wired once."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api.own import Own
from api.repeats import Repeats
from api.settings import ApiSettings
from api.signing import Signing
from api.statuses import Statuses
from console.overview import Console
from core.secrets import Secrets
from ports import Clock, Randomness, Telemetry
from web.access import Access
from web.models import Headline


@dataclass(frozen=True, slots=True)
class Services:
    """The services. `headline`: the part of `/health` that only operators get."""

    signing: Signing
    repeats: Repeats
    statuses: Statuses
    own: Own
    console: Console
    access: Access
    headline: Callable[[Request], Awaitable[Headline | None]]
    secrets: Callable[[], Awaitable[Secrets]]
    checks: Mapping[str, Callable[[], Awaitable[object]]]
    clock: Clock
    randomness: Randomness
    telemetry: Telemetry
    settings: ApiSettings


async def services_of(request: Request) -> Services:
    """Return the application's services, as a dependency."""
    services: Services = request.app.state.services
    return services


Wired = Annotated[Services, Depends(services_of)]
