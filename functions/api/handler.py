"""AWS Lambda's entry point for the API."""

import os

from mangum import Mangum

from adapters.aws import event_loop
from adapters.telemetry import identified
from api.app import create_app
from api.wiring import wire

TEXT_TYPES = ["text/", "application/json", "application/problem+json"]

event_loop()
# Whatever is not named as text goes out in base64, and the gateway leaves it so.
handler = identified(Mangum(create_app(wire(os.environ)), lifespan="off", text_mime_types=TEXT_TYPES))
