"""The demo as its user runs it."""

import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import IO

import pytest

from infra import ROOT
from tests.system.burst import PROMISED_S
from tests.system.machine import whole_machine

pytestmark = pytest.mark.integration

SENDING = re.compile(r"60 requests in (\d+) s;")


def wait_until_all_is_sent(output: IO[str]) -> str:
    """Return what the demo printed until its last request was answered: only answers are timed."""
    said = ""
    for line in output:
        said += line
        if sending := SENDING.match(line):
            time.sleep(int(sending[1]) + PROMISED_S)
            break
    return said


def test_the_demo_keeps_every_promise(tmp_path: Path) -> None:
    """In compressed time: its exit status is the verdict, it says why, and the picture is there."""
    picture = tmp_path / "demo.svg"
    with subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "infra.demo", "--svg", str(picture)],
        cwd=ROOT,
        env={**os.environ, "SLOW": "0", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as demo:
        assert demo.stdout
        with whole_machine():
            said = wait_until_all_is_sent(demo.stdout)
        said += demo.stdout.read()
    assert demo.returncode == 0, said[-3_000:]
    assert "Every promise was kept" in said
    assert "60 of 60 signed" in said
    assert ET.parse(picture).getroot().tag.endswith("svg")  # noqa: S314 - our own
