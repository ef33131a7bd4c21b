"""Webhooks of the embedded stack, as a receiver of somebody else's meets them."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from infra import ROOT
from tests.system.conftest import StartStack
from tests.system.kill import COMPRESSED
from tests.system.receiver import receiving
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
