"""The operator's tool by its command line, on the embedded stack."""

import asyncio
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from infra import ROOT
from infra.local.settings import DEFAULT_OPERATOR_KEY
from tests.system.burst import POLL_S, arrivals, await_webhooks
from tests.system.caller import LIMIT_S, accept, configure, get, until
from tests.system.stack import API_KEY, RunningStack

pytestmark = pytest.mark.integration

DONE, FAILED, BAD_USAGE, NOTHING_FOUND = 0, 1, 2, 3
UNKNOWN_ID = "00000000-0000-7000-8000-000000000000"


class Tool:
    """Runs the tool as an operator does, and reads its JSON."""

    def __init__(self, stack: RunningStack) -> None:
        self._endpoint = stack.session.endpoint_url

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "infra.ops", "--endpoint", self._endpoint, "--json", *words]
        environment = {"PATH": os.environ["PATH"], "HOME": os.devnull}
        return subprocess.run(  # noqa: S603 - our own program
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    def __call__(self, *words: str) -> Any:
        ended = self.run(*words)
        assert ended.returncode == DONE, ended.stderr
        return json.loads(ended.stdout)


@pytest.fixture
def tool(stack: RunningStack) -> Tool:
    return Tool(stack)


def now() -> str:
    """Return the time as the tool takes it: what came before is other tests'."""
    return datetime.now(UTC).isoformat()


def test_a_backlog_is_held_listed_and_purged(stack: RunningStack, tool: Tool) -> None:
    """While calls are paused requests wait; a purge ends them, and each caller is told why by webhook."""
    since = now()
    tool("pause")
    try:
        ids = [accept(stack, message, stack.hook_url) for message in ("ops one", "ops two")]
        assert tool("status", ids[0])["state"] == "waiting"
        assert {row["id"] for row in tool("list", "--state", "waiting", "--since", since)} == set(ids)
        assert {row["id"] for row in tool("purge", "--since", since, "--dry-run")} == set(ids)
        assert tool.run("purge", "--since", since).returncode == FAILED  # it asks, and nobody answers
        assert tool("status", ids[0])["state"] == "waiting"
        assert tool("purge", "--since", since, "--yes") == {"purged": 2}
        webhooks = asyncio.run(await_webhooks(stack, ids, LIMIT_S))
        assert {row["body"]["status"] for row in webhooks.values()} == {503}
        assert set(webhooks) == set(ids)
        assert tool("status", ids[0])["failure"] == "503 purged_by_operator"
    finally:
        assert tool("resume") == {"paused": False, "changed": True}


def test_a_webhook_is_replayed(stack: RunningStack, tool: Tool) -> None:
    """What a receiver wanted no more of is found, and sent again once it does."""
    hook = f"{stack.hook_url}/ops"
    configure(stack.inbox_url, name="ops", status=410)
    since = now()
    tool("pause")
    try:
        request_id = accept(stack, "ops gone", hook)
        tool("purge", "--yes", "--client", "default", "--since", since)
    finally:
        tool("resume")
    asyncio.run(await_webhooks(stack, [request_id], LIMIT_S))
    until(lambda: request_id in tool.run("list", "--state", "gone").stdout)
    configure(stack.inbox_url, name="ops", status=None)
    assert [row["id"] for row in tool("replay", request_id, "--dry-run")] == [request_id]
    assert tool("replay", request_id, "--yes") == [{"id": request_id, "result": "sent again"}]
    assert asyncio.run(statuses_of_two_webhooks(stack, request_id)) == [
        httpx.codes.GONE,
        httpx.codes.NO_CONTENT,
    ]


async def statuses_of_two_webhooks(stack: RunningStack, request_id: str) -> list[int]:
    """Wait until a webhook has come twice; return how it was answered, in order."""
    end_s = time.monotonic() + LIMIT_S
    while True:
        rows = [row for row in await arrivals(stack) if row["webhook_id"] == request_id]
        if len(rows) > 1 or time.monotonic() > end_s:
            return [row["status"] for row in reversed(rows)]
        await asyncio.sleep(POLL_S)


def test_dead_letters_are_listed_and_deleted(stack: RunningStack, tool: Tool) -> None:
    """A listing leaves them where they are."""
    sqs, dead = stack.session.client("sqs"), stack.resources["NotificationDeadLetterQueue"]
    good = json.dumps({"v": 1, "job_id": "0" * 64, "request_id": UNKNOWN_ID, "attempt": 0})
    for text in (good, "garbage of ops"):
        sqs.send_message(QueueUrl=dead, MessageBody=text)
    for _ in range(2):
        texts = {row["text"] for row in tool("dead-letters", "list")}
        assert {good, "garbage of ops"} <= texts
    assert tool("dead-letters", "delete", "--yes")["deleted"] >= 2
    assert tool.run("dead-letters", "list").returncode == NOTHING_FOUND


def test_limits_are_shown_and_set(tool: Tool) -> None:
    """A change is one write for all functions; nonsense is refused before anything is asked."""
    shown = tool("limit", "show")
    assert (shown["calls"], shown["window_seconds"]) == (10, 60)
    assert tool("limit", "set", "11", "60", "--yes")["changed"]
    assert tool("limit", "show")["calls"] == 11
    assert tool("limit", "set", "10", "60", "--yes")["changed"]
    assert tool.run("limit", "set", "0", "60").returncode == BAD_USAGE


def test_a_new_key_opens_the_door(stack: RunningStack, tool: Tool) -> None:
    """The secret gets the key that was shown; no other secret is ever shown."""
    key = tool("keys", "add", "ops-test")["key"]
    assert "ops-test" in {row["client"] for row in tool("keys", "list")}
    secrets = stack.session.client("secretsmanager")
    document = json.loads(secrets.get_secret_value(SecretId=stack.resources["Secret"])["SecretString"])
    assert document["clients"]["ops-test"] == key
    assert document["upstream_key"] == API_KEY
    assert tool("keys", "revoke", "ops-test", "--yes") == {"revoked": "ops-test"}


def test_an_operator_gets_a_key_too(stack: RunningStack, tool: Tool) -> None:
    """It is no caller's; the local stack's own operator is listed beside it."""
    added = tool("keys", "add", "ops-olga", "--operator")
    assert added["operator"] == "ops-olga"
    assert {row["operator"] for row in tool("keys", "list", "--operator")} == {"operator", "ops-olga"}
    assert "ops-olga" not in {row["client"] for row in tool("keys", "list")}
    assert tool("keys", "revoke", "ops-olga", "--operator", "--yes") == {"revoked": "ops-olga"}
    state = get(f"{stack.api_url}/console/state", Authorization=DEFAULT_OPERATOR_KEY).json()
    assert set(state["dead_letters"]) == {"work", "notification"}


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("status", UNKNOWN_ID), NOTHING_FOUND),
        (("list", "--state", "lost"), BAD_USAGE),
        (("list", "--state", "open", "--since", "soon"), BAD_USAGE),
        (("replay", "--yes"), BAD_USAGE),
        (("--stack", "no-such-stack", "limit", "show"), FAILED),
    ],
)
def test_the_exit_status_says_how_it_went(tool: Tool, words: tuple[str, ...], status: int) -> None:
    """Scripts can tell "nothing there" from "not possible" from "not understood"."""
    ended = tool.run(*words)
    assert ended.returncode == status
    assert "Traceback" not in ended.stderr
