"""The HTTP application. Every answer, errors included, goes through here."""

from fastapi import FastAPI

from api.endpoints import NAME, Endpoints, Services
from api.identify import Identify
from api.routes import router
from core.config import VERSION
from web.cors import Cors
from web.problems import add_error_handlers

__all__ = ["Services", "create_app"]


def create_app(services: Services) -> FastAPI:
    """Return the ASGI application."""
    app = FastAPI(title=NAME, version=VERSION, openapi_url=None, redirect_slashes=False)
    app.state.access = services.access
    app.add_middleware(Cors, origins=services.settings.cors_origins)
    app.add_middleware(
        Identify,
        clock=services.clock,
        randomness=services.randomness,
        telemetry=services.telemetry,
        settings=services.settings,
    )
    for routes in (router(Endpoints(services)), *services.mounted):
        app.router.routes.extend(routes.routes)
    add_error_handlers(app, services.telemetry, services.randomness)
    return app
