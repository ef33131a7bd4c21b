"""The least that a function with the API's packages can be: what its cold start is compared with."""

import boto3
import httpx
from botocore.config import Config
from fastapi import FastAPI
from mangum import Mangum

dynamodb = boto3.client("dynamodb", config=Config(retries={"total_max_attempts": 2, "mode": "standard"}))
upstream = httpx.AsyncClient()
app = FastAPI()


@app.get("/")
async def root() -> dict[str, str]:
    """Answer something."""
    return {"message": "bare"}


handler = Mangum(app, lifespan="off")
