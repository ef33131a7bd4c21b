"""AWS Lambda's entry point for the API."""

import asyncio
import os

from mangum import Mangum

from api.app import create_app
from api.wiring import wire

# One loop for the life of the instance: connections are kept between invocations.
asyncio.set_event_loop(asyncio.new_event_loop())
handler = Mangum(create_app(wire(os.environ)), lifespan="off")
