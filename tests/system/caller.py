"""A caller of a running stack, with patience: a busy machine makes answers late, and some of them a 503."""

import time
from collections.abc import Callable
from typing import TypeVar

import httpx

from tests.system.stack import API_KEY, RunningStack

LIMIT_S = 100.0
POLL_S = 0.2
UNAVAILABLE = ("service-unavailable", ":unavailable")
AUTH = {"Authorization": API_KEY}

Found = TypeVar("Found")


def until(look: Callable[[], Found | None]) -> Found:
    """Look again until there is something, and return it."""
    end_s = time.monotonic() + LIMIT_S
    while not (found := look()):
        assert time.monotonic() < end_s, "it never came"
        time.sleep(POLL_S)
    return found


def get(url: str, params: dict[str, str] | None = None, **headers: str) -> httpx.Response:
    """Send a caller's GET."""
    return httpx.get(url, params=params, headers={**AUTH, **headers}, trust_env=False, timeout=LIMIT_S)


def sign(stack: RunningStack, message: str, webhook_url: str = "", **headers: str) -> httpx.Response:
    """Ask for a signature, and again while the service has no time for it: nothing is promised by a 503."""
    params = {"message": message} | ({"webhook_url": webhook_url} if webhook_url else {})

    def answer() -> httpx.Response | None:
        response = get(f"{stack.api_url}/crypto/sign", params, **headers)
        problem = response.json().get("type", "")
        return None if problem.endswith(UNAVAILABLE) else response

    return until(answer)


def accept(stack: RunningStack, message: str, webhook_url: str = "") -> str:
    """Have a request accepted, without a webhook too; return its id."""
    answer = sign(stack, message, webhook_url, Prefer="respond-async")
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    request_id: str = answer.json()["request_id"]
    return request_id


def configure(server_url: str, **behaviour: object) -> None:
    """Say how the stand-in for the upstream, or the inbox, behaves from now on."""
    answer = httpx.post(f"{server_url}/_config", json=behaviour, trust_env=False, timeout=LIMIT_S)
    answer.raise_for_status()
