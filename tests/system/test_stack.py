"""`make run` as its user meets it: starts, stops, state, and what it says when it cannot start."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra import ROOT
from infra.local.processes import require_free_port
from tests.system.caller import get, until
from tests.system.stack import PORT_SETTINGS, RunningStack, free_ports, running_stack

pytestmark = pytest.mark.integration

FEW_WORKERS = {"UPSTREAM_LIMIT": "1"}
STOP_LIMIT_S = 60.0  # it takes two seconds; a busy machine takes longer
MARK_TEXT = "a test's own item"
MARK = {"PK": {"S": MARK_TEXT}}


def command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "infra.local.run", "--env-file", os.devnull, "--state-dir", str(folder)]


def environment(ports: Mapping[str, str], **settings: str) -> dict[str, str]:
    return {**os.environ, **FEW_WORKERS, **ports, **settings}


@contextmanager
def make_run(folder: Path, ports: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run `make run`'s program until it says that it is ready."""
    with subprocess.Popen(  # noqa: S603 - our own program
        command(folder), cwd=ROOT, env=environment(ports), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert any(line.startswith("Ready") for line in process.stdout)
            yield process
        finally:
            process.terminate()


def run_in_vain(folder: Path, ports: Mapping[str, str], **settings: str) -> tuple[int, str]:
    """Run `make run`'s program where it cannot start; return its status and what it complained of."""
    ended = subprocess.run(  # noqa: S603 - our own program
        command(folder),
        cwd=ROOT,
        env=environment(ports, **settings),
        capture_output=True,
        text=True,
        timeout=STOP_LIMIT_S,
        check=False,
    )
    return ended.returncode, ended.stderr


def processes_of(folder: Path) -> dict[int, str]:
    """Return the processes whose arguments name the folder, by their ids."""
    listing = subprocess.run(["ps", "-ww", "-eo", "pid=,args="], capture_output=True, text=True, check=True)  # noqa: S607
    lines = [line.split(maxsplit=1) for line in listing.stdout.splitlines()]
    return {int(process_id): arguments for process_id, arguments in lines if str(folder) in arguments}


def mark(running: RunningStack) -> None:
    running.session.client("dynamodb").put_item(TableName=running.resources["WindowTable"], Item=MARK)


def is_marked(running: RunningStack) -> bool:
    found = running.session.client("dynamodb").get_item(
        TableName=running.resources["WindowTable"], Key=MARK, ConsistentRead=True
    )
    return "Item" in found


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything(tmp_path: Path, stop: signal.Signals) -> None:
    """Ctrl-C or SIGTERM ends every process soon, without an error."""
    ports = free_ports()
    with make_run(tmp_path, ports) as process:
        api_url = f"http://127.0.0.1:{ports['API_PORT']}"
        until(lambda: get(f"{api_url}/health").is_success)
        assert processes_of(tmp_path)
        process.send_signal(stop)
        assert process.wait(STOP_LIMIT_S) == 0
    assert processes_of(tmp_path) == {}
    for setting in PORT_SETTINGS:
        require_free_port(int(ports[setting]), setting)


def test_a_second_run_is_refused(tmp_path: Path) -> None:
    """One state folder has one stack; the second says which process runs it, and the first goes on."""
    ports = free_ports()
    with make_run(tmp_path, ports) as process:
        assert run_in_vain(tmp_path, ports) == (1, f"error: already running here (process {process.pid})\n")
        assert process.poll() is None


def test_a_dead_process_ends_all(tmp_path: Path) -> None:
    """When a part dies by itself, the run says which one, ends the others and fails."""
    with make_run(tmp_path, free_ports()) as process:
        (inbox_id,) = (key for key, line in processes_of(tmp_path).items() if "infra.local.inbox" in line)
        os.kill(inbox_id, signal.SIGKILL)
        assert process.wait(STOP_LIMIT_S) == 1
    assert processes_of(tmp_path) == {}


@pytest.mark.parametrize("setting", PORT_SETTINGS)
def test_a_taken_port_is_named(tmp_path: Path, setting: str) -> None:
    """One line names the port that is taken and the setting that moves it."""
    ports = free_ports()
    with socket.create_server(("127.0.0.1", int(ports[setting]))):
        status, complaint = run_in_vain(tmp_path, ports)
    assert (status, complaint) == (
        1,
        f"error: port {ports[setting]} is taken: set {setting} to another one\n",
    )


def test_a_bad_setting_is_named(tmp_path: Path) -> None:
    """One line names the setting and what was expected; nothing starts."""
    status, complaint = run_in_vain(tmp_path, free_ports(), UPSTREAM_LIMIT="101")
    assert (status, complaint) == (2, "error: UPSTREAM_LIMIT must be a whole number from 1 to 100\n")


def test_state_survives_a_stop_and_new_settings(tmp_path: Path) -> None:
    """The next start goes on with the same tables, on other ports and with other settings too."""
    with running_stack(tmp_path, **FEW_WORKERS) as first:
        mark(first)
    with running_stack(tmp_path, **FEW_WORKERS, SIGNATURE_TTL_SECONDS="7") as second:
        assert is_marked(second)
        assert second.resources["SigningTable"] == first.resources["SigningTable"]
        assert second.keys == first.keys
        configuration = second.session.client("lambda").get_function_configuration(
            FunctionName=second.resources["ApiFunction"]
        )
        assert configuration["Environment"]["Variables"]["SIGNATURE_TTL_SECONDS"] == "7"


def test_a_kill_of_everything_loses_only_what_was_not_saved(tmp_path: Path) -> None:
    """What is older than a save survives a kill -9 of every process, and the next start knows of the kill."""
    with running_stack(tmp_path, **FEW_WORKERS) as first:
        mark(first)
        until(lambda: any(MARK_TEXT in path.read_text() for path in tmp_path.rglob("dynamodb*.json")))
        for child in first.stack.children:
            os.killpg(child.pid, signal.SIGKILL)
    assert (tmp_path / "unsettled").exists()
    with running_stack(tmp_path, **FEW_WORKERS) as second:
        assert is_marked(second)
    assert not (tmp_path / "unsettled").exists()
