"""Nothing accepted is ever lost, whatever is killed: `tests.system.kill`, in short."""

import asyncio
import os
import signal
import time
from pathlib import Path

import httpx
import pytest

from infra.local.processes import require_free_port
from tests.system import kill
from tests.system.stack import PORT_SETTINGS, RunningStack, free_ports, running_stack
from tests.system.test_stack import FEW_WORKERS, is_marked, make_run, mark

pytestmark = pytest.mark.integration

ALL_ENDED_LIMIT_S = 60.0


def test_every_promise_survives_every_kill(tmp_path: Path) -> None:
    """Every 202 ends in a webhook, and the window holds; only a young 202 may die with the emulator."""
    results, seen = asyncio.run(kill.run(tmp_path, rounds=1, requests=20, kills=5, seed=1))
    kill.show(results, seen)
    assert kill.kept(results, seen)


def test_nothing_outlives_a_killed_run(tmp_path: Path) -> None:
    """After a kill -9 of `make run`'s program alone every part ends by itself."""
    ports = free_ports()
    with make_run(tmp_path, ports) as process:
        os.kill(process.pid, signal.SIGKILL)
    url = f"http://127.0.0.1:{ports['AWS_PORT']}/_ministack/health"
    end_s = time.monotonic() + ALL_ENDED_LIMIT_S
    while is_answering(url) and time.monotonic() < end_s:  # it saves its state first
        time.sleep(kill.POLL_S)
    for setting in PORT_SETTINGS:
        require_free_port(int(ports[setting]), setting)


def is_answering(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def test_a_deployment_killed_half_way_is_made_anew(tmp_path: Path) -> None:
    """A stack that was saved in the middle of a deployment is replaced; its tables go on."""
    with running_stack(tmp_path, **FEW_WORKERS) as first:
        mark(first)
    leave_half_way(tmp_path)
    with running_stack(tmp_path, **FEW_WORKERS) as second:
        assert is_marked(second)
        assert tables(second) == tables(first)


def leave_half_way(folder: Path) -> None:
    """Make the saved state say what a kill in the middle of a deployment leaves there."""
    saved = folder / "aws" / "services" / "cloudformation.json"
    done, under_way = '"StackStatus": "CREATE_COMPLETE"', '"StackStatus": "UPDATE_IN_PROGRESS"'
    text = saved.read_text()
    assert done in text
    saved.write_text(text.replace(done, under_way))


def tables(stack: RunningStack) -> list[str]:
    return [stack.resources[name] for name in ("SigningTable", "WindowTable")]
