"""README's commands do what they show, as pasted, on a fresh stack."""

import re
import subprocess

import pytest

from infra import ROOT
from tests.system.conftest import StartStack
from tests.system.machine import whole_machine

pytestmark = pytest.mark.integration

SHOWN = re.compile(r"^\$ (?P<command>(?:.*\\\n)*.*)\n(?:HTTP/1\.1 (?P<status>\d+))?", re.MULTILINE)
LIMIT_S = 60


def shown() -> list[tuple[str, str | None]]:
    """Return the commands of the section, each with the status that is shown under it, if one is."""
    (section,) = re.findall(r"## Call it\n+```console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [(found["command"], found["status"]) for found in SHOWN.finditer(section)]


def test_the_commands_answer_as_shown(start_stack: StartStack) -> None:
    """One signed, one accepted, and the eleventh call refused."""
    stack = start_stack()
    statuses = []
    with whole_machine():
        for command, status in shown():
            pasted = command.replace("http://127.0.0.1:8000", stack.api_url)
            pasted = pasted.replace(
                "127.0.0.1%3A8200", stack.inbox_url.removeprefix("http://").replace(":", "%3A")
            )
            answer = subprocess.run(  # noqa: S602 - README's own lines, for a shell
                pasted, shell=True, capture_output=True, text=True, timeout=LIMIT_S, check=True
            )
            if status:
                statuses.append(status)
                assert answer.stdout.split()[1] == status, (command, answer.stdout)
    assert statuses == ["200", "202", "429"]
