"""Webhooks of the embedded stack, as a receiver of somebody else's meets them."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from infra import ROOT
from tests.system.conftest import StartStack
from tests.system.kill import COMPRESSED
from tests.system.stack import API_KEY, RunningStack

pytestmark = pytest.mark.integration

BLOCK = re.compile(r"<!-- verify:begin -->\n```python\n(.*?)```\n<!-- verify:end -->", re.DOTALL)
ARRIVES_LIMIT_S = 60


def verify_of(path: Path) -> Callable[[str, dict[str, str], bytes], None]:
    """Return the function that a document shows between its markers."""
    found = BLOCK.search(path.read_text())
    assert found, f"{path.name} has no block between verify:begin and verify:end"
    shown: dict[str, Any] = {}
    exec(found[1], shown)  # noqa: S102 - the document is ours, and this is what its readers do
    function: Callable[[str, dict[str, str], bytes], None] = shown["verify"]
    return function


@dataclass
class Receiver:
    """A tiny receiver: what came, and when. While it hangs it answers nobody."""

    url: str = ""
    hangs: bool = False
    received: list[tuple[float, dict[str, str], bytes]] = field(default_factory=list)
    done: Event = field(default_factory=Event)

    def wait_for(self, count: int, limit_s: float) -> None:
        end_s = time.monotonic() + limit_s
        while len(self.received) < count and time.monotonic() < end_s:
            time.sleep(0.05)
        assert len(self.received) >= count


@contextmanager
def receiving(*, hangs: bool = False) -> Iterator[Receiver]:
    """Run a receiver on a free port."""
    receiver = Receiver(hangs=hangs)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.received.append((time.monotonic(), headers, body))
            if receiver.hangs:
                receiver.done.wait()
                return
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.done.set()
        server.shutdown()
        server.server_close()
        thread.join()


async def accepted(stack: RunningStack, message: str, hook: str) -> None:
    """Ask until a request is accepted, not answered at once."""
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        for number in range(40):
            url = f"{stack.api_url}/crypto/sign?message={quote(message)}%20{number}&webhook_url={quote(hook)}"
            response = await client.get(url, headers={"Authorization": API_KEY})
            if response.status_code == httpx.codes.ACCEPTED:
                return
    pytest.fail("every request was answered at once")


def test_the_documents_lines_verify_a_real_webhook(start_stack: StartStack) -> None:
    """What we tell receivers to write accepts what we send, and refuses it once a byte is changed."""
    stack = start_stack(**COMPRESSED)
    verify = verify_of(ROOT / "README.md")
    with receiving() as receiver:
        asyncio.run(accepted(stack, "to be verified by ten lines", receiver.url))
        receiver.wait_for(1, ARRIVES_LIMIT_S)
    _, headers, body = receiver.received[0]
    verify(stack.keys.webhook_secret, headers, body)
    assert " v1a," in headers["webhook-signature"]
    with pytest.raises(ValueError, match="not a webhook of ours"):
        verify(stack.keys.webhook_secret, headers, body + b" ")
