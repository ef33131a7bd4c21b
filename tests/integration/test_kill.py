"""Nothing accepted is ever lost, whatever is killed: `tests.integration.kill`, in short."""

import asyncio
from pathlib import Path

import pytest

from tests.integration import kill

pytestmark = pytest.mark.integration


def test_every_promise_survives_every_kill(tmp_path: Path) -> None:
    """Every 202 ends in a webhook, and the window holds; only a young 202 may die with the emulator."""
    results, seen = asyncio.run(kill.run(tmp_path, rounds=1, requests=20, kills=5, seed=1))
    kill.show(results, seen)
    assert kill.kept(results, seen)
