"""`make logs`: the functions' log lines for people, all or those of one request."""

import json
from pathlib import Path

import pytest

from infra.local.logs import Reader, lines_of, main

JOB, OTHER_JOB = "a1" * 32, "b2" * 32
EVENTS: list[tuple[str, dict[str, object]]] = [
    ("api", {"event": "accepted", "request_id": "mine", "job_id": JOB}),
    ("api", {"event": "accepted", "request_id": "another", "job_id": OTHER_JOB}),
    ("processor", {"event": "upstream_call", "request_id": "twin", "job_id": JOB, "status": 502}),
    ("processor", {"event": "upstream_call", "request_id": "another", "job_id": OTHER_JOB}),
    ("processor", {"event": "settle_failed", "job_id": JOB}),
    ("processor", {"event": "request_closed", "request_id": "another", "job_id": OTHER_JOB}),
    ("notifier", {"event": "delivered", "request_id": "mine"}),
]


def written(function: str, fields: dict[str, object]) -> str:
    return f"{function:9} {json.dumps({'time': '2027-01-15T08:00:31.963Z', 'level': 'INFO', **fields})}"


def test_a_line_is_short_and_says_what_people_ask() -> None:
    """Time of day, function, event, figures, request; nothing that is the same everywhere, ids in short."""
    line = written("processor", {
        "event": "upstream_call", "function": "processor", "stack": "relay", "version": "0.1.0",
        "cold_start": False, "job_id": JOB, "status": 502, "latency_ms": 341.0, "_aws": {},
        "request_id": "mine",
    })  # fmt: skip
    expected = "08:00:31.963 processor upstream_call    job_id=a1a1a1a1 status=502 latency_ms=341 mine"
    assert Reader(None).read(line) == expected


def test_what_is_not_as_it_should_be_stands_out() -> None:
    """A level other than INFO is shown, and so is a cold start."""
    line = written(
        "api", {"event": "unavailable", "level": "WARNING", "cold_start": True, "reason": "timeout"}
    )
    assert (
        Reader(None).read(line) == "08:00:31.963 api       unavailable      WARNING cold start reason=timeout"
    )


def test_one_request_is_followed_through_all_functions() -> None:
    """Its own lines, and those about its message's calls, which another request may have waited for first."""
    reader = Reader("mine")
    found = [event["event"] for name, event in EVENTS if reader.read(written(name, event))]
    assert found == ["accepted", "upstream_call", "settle_failed", "delivered"]


def test_other_lines_are_shown_as_they_are() -> None:
    """A traceback is not JSON; it belongs to no request that we know."""
    assert Reader(None).read("api       Traceback (most recent call last):") is not None
    assert Reader("mine").read("api       Traceback (most recent call last):") is None


def test_the_log_before_is_read_first(tmp_path: Path) -> None:
    """A full log is renamed: what it has comes before what the new one has."""
    log = tmp_path / "functions.log"
    log.with_name("functions.log.1").write_text("first\n")
    log.write_text("second\n")
    assert list(lines_of(log, follow=False)) == ["first", "second"]


def test_following_goes_on_in_the_next_log(tmp_path: Path) -> None:
    """What is appended is shown, also after the log was replaced."""
    log = tmp_path / "functions.log"
    log.write_text("first\n")
    lines = lines_of(log, follow=True)
    assert next(lines) == "first"
    log.rename(tmp_path / "functions.log.old")
    log.write_text("second\n")
    assert next(lines) == "second"


def test_without_a_log_it_says_who_writes_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing was started yet."""
    assert main(["--log", str(tmp_path / "none.log")]) == 1
    assert "make run" in capsys.readouterr().err
