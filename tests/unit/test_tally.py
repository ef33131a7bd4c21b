"""What is counted of the upstream calls."""

from typing import Any

import pytest

from core import tally
from core.answers import Answer, Meaning
from core.gate import Gate
from core.tally import Tally
from core.window import Change, Limits, empty
from tests.fakes.memory import MemoryWindow, MemoryWindowStore

NOW_MS = 1_800_000_000_000
SIGNED = Answer(Meaning.SIGNED, 200, "signature")
FAILED = Answer(Meaning.FAILED, 502)
HUNG = Answer(Meaning.UNANSWERED, reason="ReadTimeout")


async def after(*answers: Answer, at_once: bool = False) -> Tally:
    """Return the tally after these answers, a second apart."""
    item = MemoryWindow(Gate(empty(Limits(10, 60_000))))
    store = MemoryWindowStore(item, lambda: Gate(empty(Limits(10, 60_000))))
    for number, answer in enumerate(answers):
        gate = await store.read()
        values = tally.values(gate.tally, answer, NOW_MS + 1_000 * number)
        increments = tally.increments(answer, at_once=at_once)
        await store.apply(Change(1, values=values, increments=increments))
    return (await store.read()).tally


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([SIGNED], {"signed": 1}),
        (
            [FAILED, HUNG],
            {
                "failed": 1,
                "unanswered": 1,
                "failing_calls": 2,
                "failing_since_ms": NOW_MS,
                "error": "ReadTimeout",
                "error_at_ms": NOW_MS + 1_000,
            },
        ),
        ([Answer(Meaning.WELCOME, 200), Answer(Meaning.NEVER_SENT)], {}),
        ([Answer(Meaning.FAILED, 200)], {"failed": 1, "failing_calls": 1, "error": "failed"}),
    ],
)
async def test_each_call_is_counted_once(answers: list[Answer], expected: dict[str, Any]) -> None:
    """By what came of it; probes and calls that were never sent are none."""
    counts = await after(*answers)
    assert {name: getattr(counts, name) for name in expected} == expected
    total = counts.signed + counts.failed + counts.unanswered
    assert total == sum(expected.get(name, 0) for name in ("signed", "failed", "unanswered"))


async def test_a_signature_ends_a_row_of_failures() -> None:
    """The last error stays known; the next failure begins a new row, with its own time."""
    counts = await after(FAILED, FAILED, SIGNED)
    assert (counts.failing_calls, counts.error) == (0, "http_502")
    counts = await after(FAILED, SIGNED, FAILED)
    assert (counts.failing_calls, counts.failing_since_ms) == (1, NOW_MS + 2_000)


async def test_a_refused_key_is_no_failing_upstream() -> None:
    """Nor is its limit: both have their own words."""
    counts = await after(Answer(Meaning.KEY_REFUSED, 401), Answer(Meaning.LIMITED, 429))
    assert (counts.key_refused, counts.limited, counts.failing_calls) == (1, 1, 0)
    assert counts.error == "http_429"


async def test_what_was_signed_while_its_caller_waited() -> None:
    """Only a signature is an answer at once."""
    assert (await after(SIGNED, FAILED, at_once=True)).at_once == 1
