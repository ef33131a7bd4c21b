"""The main job, on the embedded stack: real processes, sockets, signatures and clocks; time is compressed."""

import asyncio
import json
import time
from pathlib import Path

import httpx
import pytest

from tests.system.burst import (
    POLL_S,
    PROMISED_S,
    accepted_ids,
    ask,
    await_webhooks,
    check_promises,
    received,
    send_burst,
    stats,
)
from tests.system.conftest import StartStack
from tests.system.kill import COMPRESSED
from tests.system.stack import API_KEY, RunningStack, free_ports, running_stack

pytestmark = pytest.mark.integration

SETTINGS = {**COMPRESSED, "STANDIN_SEED": "7"}
DONE_LIMIT_S = 120
LOGGED_LIMIT_S = 90


@pytest.fixture(scope="module")
def stack(module_stacks: StartStack) -> RunningStack:
    """Return the stack that these tests share: use messages of your own."""
    return module_stacks(**SETTINGS)


def test_a_burst_is_served_within_the_limit(stack: RunningStack) -> None:
    """Sixty requests: each answered in two seconds, each signed in the end, never over ten in a window."""

    async def scenario() -> None:
        answers = await send_burst(stack, [f"burst {number}" for number in range(60)], 0.1)
        assert max(answer.took_s for answer in answers) <= PROMISED_S
        assert any(answer.status == 200 for answer in answers)
        await check_promises(stack, answers, DONE_LIMIT_S, calls=10)
        assert (await stats(stack))["worst_window"] == 10

    asyncio.run(scenario())


def test_a_restart_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    """Who got a 202 before a shutdown is notified after it, without asking again."""
    settings = SETTINGS | free_ports()  # the same ports again, so that the webhook URLs stay good
    messages = [f"restart {number}" for number in range(30)]
    with running_stack(tmp_path, **settings) as stack:
        answers = asyncio.run(send_burst(stack, messages, 0.1))
        waiting = set(accepted_ids(answers)) - set(asyncio.run(received(stack)))
    assert waiting, "everything was done before the restart: it proves nothing"
    with running_stack(tmp_path, **settings) as stack:
        asyncio.run(check_promises(stack, answers, DONE_LIMIT_S, calls=10))


async def test_identical_requests_share_one_signature(stack: RunningStack) -> None:
    """One recorded success per message: everybody else is answered from it, with an id of their own."""
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        answers = await asyncio.gather(*(ask(client, stack, "the same for all") for _ in range(20)))
    assert {answer.status for answer in answers} <= {200, 202}
    assert len({answer.body["request_id"] for answer in answers}) == len(answers)
    webhooks = await await_webhooks(stack, accepted_ids(answers), DONE_LIMIT_S)
    signatures = {row["body"]["signature"] for row in webhooks.values()}
    signatures |= {answer.body["signature"] for answer in answers if answer.status == httpx.codes.OK}
    assert set(webhooks) == set(accepted_ids(answers))
    assert len(signatures) == 1
    calls = [row for row in (await stats(stack))["arrivals"] if row["message"] == "the same for all"]
    assert sum(row["outcome"] == "signed" for row in calls) == 1


async def test_status_is_known_right_after_the_202(stack: RunningStack) -> None:
    """An accepted request can be looked up at once: by its status_url, or by its caller; by nobody else."""
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        for number in range(40):
            answer = await ask(client, stack, f"status {number}")
            if answer.status == httpx.codes.ACCEPTED:
                break
        url, headers = answer.body["status_url"], {"Authorization": API_KEY}
        found = (await client.get(url)).json()
        assert found["state"] in {"waiting", "retrying", "signed"}
        assert found["delivery"]["state"] in {"none", "pending", "delivered"}
        plain_url = url.partition("?")[0]
        by_key = (await client.get(plain_url, headers=headers)).json()
        assert by_key["request_id"] == found["request_id"]
        other_url = plain_url[:-4] + "0000"
        assert (await client.get(other_url, headers=headers)).status_code == httpx.codes.NOT_FOUND
        assert (await client.get(plain_url)).status_code == httpx.codes.UNAUTHORIZED


async def test_the_log_names_requests_and_repeats_no_secret(stack: RunningStack) -> None:
    """All three functions log a request under its id; no line has a message, key, signature or query."""
    secret = ["for nobody's eyes", "nobody%27s", "token=", "a-wrong-key", API_KEY]
    secret += [stack.keys.webhook_secret, stack.keys.signing_key, stack.keys.token_key]
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        answers = [
            await ask(client, stack, f"for nobody's eyes {number}", hook=f"{stack.hook_url}?token=1234")
            for number in range(6)
        ]
        refused = await client.get(
            f"{stack.api_url}/crypto/sign",
            params={"message": "for nobody's eyes"},
            headers={"Authorization": "a-wrong-key"},
        )
        waiting = [answer.body for answer in answers if answer.status == httpx.codes.ACCEPTED]
        assert (await client.get(waiting[0]["status_url"])).status_code == httpx.codes.OK
    secret += [body["status_url"].partition("?")[2] for body in waiting]
    webhooks = await await_webhooks(stack, accepted_ids(answers), DONE_LIMIT_S)
    secret += [row["body"]["signature"] for row in webhooks.values()]
    secret += [answer.body["signature"] for answer in answers if answer.status == httpx.codes.OK]
    everybody = {request_id: {"api", "processor", "notifier"} for request_id in webhooks}
    everybody |= {refused.json()["request_id"]: {"api"}}
    assert await logged(stack, everybody) == everybody
    took = [line.split() for line in stack.function_log.with_name("invocations.log").read_text().splitlines()]
    assert {function for function, ms in took if ms.isdecimal()} == {"api", "processor", "notifier"}
    log = stack.function_log.read_text()
    assert [text for text in secret if text in log] == []


async def logged(stack: RunningStack, awaited: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return by which functions each of these was logged; a run's lines are there when it has ended."""
    end_s = time.monotonic() + LOGGED_LIMIT_S
    while True:
        lines = [line.partition(" ") for line in stack.function_log.read_text().splitlines()]
        events = [(function, json.loads(text)) for function, _, text in lines if text.strip().startswith("{")]
        found = {
            key: {function for function, event in events if event.get("request_id") == key} for key in awaited
        }
        if found == awaited or time.monotonic() > end_s:
            return found
        await asyncio.sleep(POLL_S)
