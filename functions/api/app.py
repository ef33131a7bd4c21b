"""The HTTP application. Every answer, errors included, goes through here."""

from fastapi import FastAPI

from api import request_routes, service_routes, sign_routes
from api.identify import Identify
from api.service_routes import NAME
from api.services import Services
from console import routes as console_routes
from core.config import VERSION
from web.cors import Cors
from web.problems import add_error_handlers


def create_app(services: Services) -> FastAPI:
    """Return the ASGI application."""
    app = FastAPI(title=NAME, version=VERSION, openapi_url=None, redirect_slashes=False)
    app.state.services, app.state.access, app.state.console = services, services.access, services.console
    app.add_middleware(Cors, origins=services.settings.cors_origins)
    app.add_middleware(
        Identify,
        clock=services.clock,
        randomness=services.randomness,
        telemetry=services.telemetry,
        settings=services.settings,
    )
    for module in (sign_routes, request_routes, service_routes, console_routes):
        app.router.routes.extend(module.router.routes)
    add_error_handlers(app, services.telemetry, services.randomness)
    return app
