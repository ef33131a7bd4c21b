"""Counts accepted requests and results of upstream calls since the window was created.

People and alarms read the counts; no decision depends on them. They are written as increments, so that calls
that end at the same time are all counted: results with the settle of their call, accepted requests with their
caller's count of open requests.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from core.answers import Answer, Meaning
from core.window import FieldValue


@dataclass(frozen=True, slots=True)
class Tally:
    """Part of the shared item.

    `accepted`: requests answered with 202.
    `signed` … `key_refused`: calls by result. `at_once`: those of `signed` that answered a waiting caller.
    `failing_calls`: calls that failed, or were not answered, since the last signature.
    `failing_since_ms`: when the first of them ended. `error`, `error_at_ms`: the error code of the last call
    without a signature, and when it ended.
    """

    accepted: int = 0
    signed: int = 0
    at_once: int = 0
    failed: int = 0
    unanswered: int = 0
    refused: int = 0
    limited: int = 0
    key_refused: int = 0
    failing_calls: int = 0
    failing_since_ms: int = 0
    error: str = ""
    error_at_ms: int = 0


ACCEPTED = "accepted"
COUNTED: Mapping[Meaning, str] = {
    Meaning.SIGNED: "signed",
    Meaning.FAILED: "failed",
    Meaning.UNANSWERED: "unanswered",
    Meaning.REFUSED: "refused",
    Meaning.LIMITED: "limited",
    Meaning.KEY_REFUSED: "key_refused",
}
FAILURES = frozenset({Meaning.FAILED, Meaning.UNANSWERED})


def increments(answer: Answer, *, at_once: bool) -> dict[str, int]:
    """Return what to add to the counts for an answer: nothing for a probe and for a call never sent."""
    counted = COUNTED.get(answer.meaning)
    if counted is None:
        return {}
    signed_at_once = {"at_once": 1} if at_once and answer.meaning is Meaning.SIGNED else {}
    failing = {"failing_calls": 1} if answer.meaning in FAILURES else {}
    return {counted: 1} | signed_at_once | failing


def values(tally: Tally, answer: Answer, now_ms: int) -> dict[str, FieldValue]:
    """Return the fields that an answer sets."""
    if answer.meaning not in COUNTED:
        return {}
    if answer.meaning is Meaning.SIGNED:
        return {"failing_calls": 0} if tally.failing_calls else {}
    changed: dict[str, FieldValue] = {"error": answer.error, "error_at_ms": now_ms}
    if answer.meaning in FAILURES and not tally.failing_calls:
        changed["failing_since_ms"] = now_ms
    return changed
