import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ISOLATED = ["unshare", "--net"]


def can_isolate() -> bool:
    """Whether we may make a network namespace: as root on Linux, with `ip` at hand."""
    if not (shutil.which("unshare") and shutil.which("ip")):
        return False
    return subprocess.run([*ISOLATED, "true"], check=False, capture_output=True).returncode == 0  # noqa: S603


@pytest.mark.skipif(not can_isolate(), reason="needs root, unshare and ip")
def test_a_call_given_up_on_a_dropped_link_never_arrives() -> None:
    """The link drops before the send and returns after we gave up: without our options the call arrives."""
    done = subprocess.run(  # noqa: S603
        [*ISOLATED, sys.executable, "-m", "tests.system.dropped_link"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'functions'}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [
        "unanswered",
        "/ours/crypto/sign?message=early",
        "/control/early",
        "/control/late",
    ]
