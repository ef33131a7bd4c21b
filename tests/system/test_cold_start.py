"""A cold start is paid from the caller's two seconds, even if the upstream hangs as well."""

import asyncio
import os
import sys
from pathlib import Path

import httpx
import pytest

from tests.system.burst import PROMISED_S, Answered, ask, check_promises
from tests.system.fault_proxy import Fault
from tests.system.faulty_stack import CALLS, FaultyStack, faulty_stack
from tests.system.machine import whole_machine

pytestmark = pytest.mark.integration

STARTS = 3
DONE_LIMIT_S = 60


def is_busy() -> bool:
    """Say whether others use this machine so much that a start of one second takes several."""
    return os.getloadavg()[0] > 2 * (os.cpu_count() or 1)


async def cold_answer(faulty: FaultyStack, number: int) -> Answered:
    """Ask an API that has no worker: the one that answers has to start first."""
    await asyncio.to_thread(faulty.make_cold)
    with whole_machine():
        async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
            return await ask(client, faulty.running, f"cold {number}")


def test_a_cold_request_with_a_hanging_upstream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Answered in two seconds: accepted, and the signature comes, or, where the start took all, refused."""

    async def scenario(faulty: FaultyStack) -> None:
        answers = [await cold_answer(faulty, number) for number in range(STARTS)]
        shown = ", ".join(f"{answer.status} in {answer.took_s:.2f} s" for answer in answers)
        with capsys.disabled():
            sys.stdout.write(f"\ncold, with a hanging upstream: {shown}\n")
        assert max(answer.took_s for answer in answers) <= PROMISED_S
        assert {answer.status for answer in answers} <= {202, 503}
        accepted = [answer for answer in answers if answer.status == httpx.codes.ACCEPTED]
        assert accepted or is_busy(), "every cold start took all of the two seconds"
        await asyncio.to_thread(faulty.proxy.turn)
        await check_promises(faulty.running, accepted, DONE_LIMIT_S, calls=CALLS)

    with faulty_stack(tmp_path, upstream=Fault.HANGS) as faulty:
        asyncio.run(scenario(faulty))
