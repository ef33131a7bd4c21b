"""A caller whose connection was cut asks again with the same key, and gets one request and one webhook."""

import socket
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from tests.system.caller import LIMIT_S, get, until
from tests.system.conftest import StartStack
from tests.system.stack import API_KEY, NO_FAULTS, RunningStack

pytestmark = pytest.mark.integration

HEADERS = {"Authorization": API_KEY, "Idempotency-Key": '"cut-off"'}


def test_a_lost_202_is_given_again(start_stack: StartStack) -> None:
    """The connection is cut before the answer is read; the same key brings the same id, and one webhook."""
    stack = start_stack(UPSTREAM_LIMIT="1", UPSTREAM_WINDOW_SECONDS="10", **NO_FAULTS)
    with httpx.Client(base_url=stack.api_url, headers=HEADERS, trust_env=False, timeout=LIMIT_S) as client:
        key = {"Idempotency-Key": "another"}
        until(lambda: client.get("/crypto/sign", params={"message": "hello"}, headers=key).is_success)
        query = f"message=cut%20off&webhook_url={quote(stack.hook_url, safe='')}"
        cut_off(stack, f"/crypto/sign?{query}")

        def accepted() -> list[dict[str, Any]]:
            return list(client.get("/crypto/requests").json()["requests"])

        (first,) = until(accepted)
        again = client.get(f"/crypto/sign?{query}")
        assert (again.status_code, again.json()["request_id"]) == (202, first["request_id"])
        until(lambda: [row for row in accepted() if row["delivery"]["state"] == "delivered"])
        assert len(accepted()) == 1
        received = get(f"{stack.inbox_url}/_received").json()["received"]
        assert [row["webhook_id"] for row in received] == [first["request_id"]]


def cut_off(stack: RunningStack, target: str) -> None:
    """Send a request, and close the connection without reading."""
    address = urlsplit(stack.api_url)
    lines = [f"GET {target} HTTP/1.1", f"Host: {address.netloc}"]
    lines += [f"{name}: {value}" for name, value in HEADERS.items()]
    with socket.create_connection((str(address.hostname), int(address.port or 80))) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        connection.shutdown(socket.SHUT_RDWR)
