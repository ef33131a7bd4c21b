"""What a cold start is compared with: the API's packages, one route and one model."""

import boto3
import httpx
from botocore.config import Config
from fastapi import FastAPI
from mangum import Mangum
from pydantic import BaseModel

dynamodb = boto3.client("dynamodb", config=Config(retries={"total_max_attempts": 2, "mode": "standard"}))
upstream = httpx.AsyncClient()
app = FastAPI()


class Welcome(BaseModel):
    """An answer."""

    message: str


@app.get("/")
async def root() -> Welcome:
    """Answer something."""
    return Welcome(message="bare")


handler = Mangum(app, lifespan="off")
