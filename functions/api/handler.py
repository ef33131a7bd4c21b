"""AWS Lambda's entry point for the API."""

import os
import sys

from mangum import Mangum

from adapters.aws import event_loop
from adapters.telemetry import identified

# FastAPI checks each parameter for a type of Pydantic 1. There are none: this saves 25 ms of a cold start.
sys.modules["pydantic.v1"] = None  # type: ignore[assignment]

from api.app import create_app  # noqa: E402 - makes the routes, with their parameters
from api.wiring import wire  # noqa: E402

TEXT_TYPES = ["text/", "application/json", "application/problem+json"]

event_loop()
# Mangum encodes every other content type in base64, and the gateway does not decode it.
handler = identified(Mangum(create_app(wire(os.environ)), lifespan="off", text_mime_types=TEXT_TYPES))
