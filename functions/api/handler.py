"""AWS Lambda's entry point for the API."""

import os

from mangum import Mangum

from adapters.aws import event_loop
from api.app import create_app
from api.wiring import wire

event_loop()
handler = Mangum(create_app(wire(os.environ)), lifespan="off")
