"""The benchmark of the API measures what it says."""

import httpx

from benchmarks.api import memory_app
from tests.component.world import HOOK, KEY


async def test_the_api_in_memory_answers_for_real() -> None:
    """Ten are signed at once, on the machine's clock; the eleventh is accepted."""
    transport = httpx.ASGITransport(memory_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://relay") as client:
        statuses = []
        for number in range(11):
            params = {"message": f"message {number}", "webhook_url": HOOK}
            answer = await client.get("/crypto/sign", params=params, headers={"Authorization": KEY})
            statuses.append(answer.status_code)
    assert statuses == [200] * 10 + [202]
