"""The demo as its user runs it."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from infra import ROOT
from tests.system.machine import whole_machine

pytestmark = pytest.mark.integration


def test_the_demo_keeps_every_promise(tmp_path: Path) -> None:
    """In compressed time: its exit status is the verdict, it says why, and the picture is there."""
    picture = tmp_path / "demo.svg"
    with whole_machine():
        result = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "infra.demo", "--svg", str(picture)],
            cwd=ROOT,
            env={**os.environ, "SLOW": "0"},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
    assert result.returncode == 0, result.stdout[-3_000:] + result.stderr[-3_000:]
    assert "Every promise was kept" in result.stdout
    assert "60 of 60 signed" in result.stdout
    assert ET.parse(picture).getroot().tag.endswith("svg")  # noqa: S314 - our own
