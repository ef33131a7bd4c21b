"""Five nights on call, compressed: the commands of `docs/operations.md`, run as they stand there."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

from infra import ROOT
from infra.ops.__main__ import EXIT_NOTHING
from tests.system.caller import LIMIT_S, accept, configure, get, until
from tests.system.conftest import StartStack
from tests.system.gates import fill_window
from tests.system.stack import API_KEY, NO_FAULTS, RunningStack

pytestmark = pytest.mark.integration

GUIDE = ROOT / "docs" / "operations.md"
SETTINGS = {
    "UPSTREAM_RETRY_SECONDS": "1",
    "UPSTREAM_WINDOW_SECONDS": "3",
    "UPSTREAM_GRACE_SECONDS": "0.5",
    "WEBHOOK_RETRY_SECONDS": "0.5",
    **NO_FAULTS,
}


@pytest.fixture(scope="module")
def night_stack(module_stacks: StartStack) -> RunningStack:
    return module_stacks(**SETTINGS)


@pytest.fixture
def stack(night_stack: RunningStack) -> RunningStack:
    upstream(night_stack, forced_status=None)
    return night_stack


def commands(section: str) -> list[str]:
    """Return the lines of a section's code blocks."""
    text = GUIDE.read_text().partition(f"\n### {section}\n")[2].partition("\n#")[0]
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    assert blocks, f"{section} has no commands"
    return [line for block in blocks for line in block.splitlines()]


def run(stack: RunningStack, line: str, folder: Path, *, allowed: Collection[int] = (0,)) -> str:
    """Run a line of the guide as its reader would; return what it printed. `allowed`: its exit statuses."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.devnull,
        "AWS_ENDPOINT_URL": stack.session.endpoint_url,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'functions'}",
    }
    line = line.replace("python -m", f"{shlex.quote(sys.executable)} -m", 1)
    ended = subprocess.run(  # noqa: S602 - our own guide's
        line,
        shell=True,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert ended.returncode in allowed, f"{line}: {ended.stderr}"
    return ended.stdout


def upstream(stack: RunningStack, **behaviour: object) -> None:
    configure(stack.upstream_url, **behaviour)


def status(stack: RunningStack, request_id: str) -> tuple[str, str]:
    """Return where a request and its webhook stand."""
    answer = get(f"{stack.api_url}/crypto/requests/{request_id}").json()
    return answer["state"], answer["delivery"]["state"]


def state(stack: RunningStack, folder: Path) -> str:
    return run(stack, "python -m infra.ops overview", folder).splitlines()[0].partition("\t")[2]


def test_the_upstreams_key_has_expired(stack: RunningStack, tmp_path: Path) -> None:
    """Calls stand still; the new key, and nothing else, is set, and what waited is signed."""
    (tmp_path / "new-key.txt").write_text(f"{API_KEY}\n")
    upstream(stack, forced_status=401)
    request_id = accept(stack, "night: the key", stack.hook_url)
    until(lambda: state(stack, tmp_path) == "key_refused")
    overview, setting, tidying = commands("The upstream's key has expired")
    assert "upstream-key set" in run(stack, overview, tmp_path)
    upstream(stack, forced_status=None)
    run(stack, setting, tmp_path)
    run(stack, tidying, tmp_path)
    until(lambda: status(stack, request_id) == ("signed", "delivered"))
    assert state(stack, tmp_path) in {"healthy", "at_limit"}


def test_the_upstream_is_down(stack: RunningStack, tmp_path: Path) -> None:
    """It is paused, nothing ages or is lost, and afterwards everything is retried."""
    upstream(stack, forced_status=502)
    request_id, *_ = [accept(stack, f"night: the upstream {number}", stack.hook_url) for number in range(6)]
    until(lambda: state(stack, tmp_path) == "upstream_failing")
    overview, pausing, listing, resuming, retrying = commands("The upstream is down")
    assert "upstream_failing" in run(stack, overview, tmp_path)
    run(stack, pausing, tmp_path)
    assert state(stack, tmp_path) == "paused"
    assert request_id in run(stack, listing, tmp_path)
    upstream(stack, forced_status=None)
    run(stack, resuming, tmp_path)
    run(stack, retrying, tmp_path, allowed=(0, EXIT_NOTHING))  # the processor may have retried all by then
    until(lambda: status(stack, request_id) == ("signed", "delivered"))


def test_a_receiver_was_down_for_a_day(stack: RunningStack, tmp_path: Path) -> None:
    """What was given up is found, and sent again when it is up."""
    configure(stack.inbox_url, name="down", status=503)
    fill_window(stack, 10_000)  # a busy machine needs long to send a request
    request_id = accept(stack, "night: the receiver", f"{stack.hook_url}/down")
    until(lambda: status(stack, request_id) == ("signed", "undeliverable"))
    assert state(stack, tmp_path) == "webhooks_failing"
    configure(stack.inbox_url, name="down", status=None)
    listing, trying, replaying = commands("A receiver was down for a day")
    for line in (listing, trying):
        assert request_id in run(stack, line, tmp_path)
    assert f"{request_id}\tsent again" in run(stack, replaying, tmp_path)
    until(lambda: status(stack, request_id) == ("signed", "delivered"))


def test_something_is_unreadable(stack: RunningStack, tmp_path: Path) -> None:
    """A dead letter is looked at and deleted; a window that may lack calls is filled for a lease."""
    queue = stack.resources["NotificationDeadLetterQueue"]
    stack.session.client("sqs").send_message(QueueUrl=queue, MessageBody="garbage of the night")
    listing, deleting, pausing, filling, resuming = commands("Something is unreadable")
    assert "garbage of the night" in run(stack, listing, tmp_path)
    run(stack, deleting, tmp_path)
    assert "dead_letters_notification\t0" in run(stack, "python -m infra.ops overview", tmp_path)
    run(stack, pausing, tmp_path)
    run(stack, filling, tmp_path)
    run(stack, resuming, tmp_path)
    assert "slots_in_use\t10 of 10" in run(stack, "python -m infra.ops overview", tmp_path)
    fill_window(stack, 0)


def test_the_vendor_changed_the_limit(stack: RunningStack, tmp_path: Path) -> None:
    """One command for all functions; the wait that a 429 had asked for ends."""
    upstream(stack, forced_status=429, forced_retry_after_s=900)
    accept(stack, "night: the limit", stack.hook_url)
    until(lambda: state(stack, tmp_path) == "upstream_limits")
    upstream(stack, forced_status=None, forced_retry_after_s=None)
    showing, changing, unblocking, overview = commands("The vendor changed the limit")
    assert "calls\t10" in run(stack, showing, tmp_path)
    run(stack, changing, tmp_path)
    run(stack, unblocking, tmp_path)
    assert "of 5" in run(stack, overview, tmp_path)
    assert state(stack, tmp_path) != "upstream_limits"
