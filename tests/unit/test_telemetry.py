"""A log line says when, how grave, from which stack and invocation."""

import asyncio
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.telemetry import JsonTelemetry, identified
from core.config import VERSION

GATEWAY_EVENT = {"requestContext": {"requestId": "gateway-1"}}


def written(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return the lines written since the last time."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_line_says_when_what_and_where(capsys: pytest.CaptureFixture[str]) -> None:
    """ISO time in UTC, level, event, function, stack, version; empty fields are left out."""
    JsonTelemetry("api", "relay-a").event("answered", status=200, reason="", path=None)
    (line,) = written(capsys)
    moment = datetime.fromisoformat(line.pop("time"))
    assert moment.tzinfo == UTC
    assert line == {
        "level": "INFO",
        "event": "answered",
        "function": "api",
        "stack": "relay-a",
        "version": VERSION,
        "status": 200,
    }


@pytest.mark.parametrize(
    ("fields", "level"),
    [({}, "INFO"), ({"reason": "timeout"}, "WARNING"), ({"error": "KeyError: 'x'"}, "ERROR")],
)
def test_the_level_follows_from_what_is_told(
    fields: dict[str, Any], level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reason is a warning, an error of our code an error."""
    JsonTelemetry("api", "relay-a").event("something", **fields)
    assert written(capsys)[0]["level"] == level


def test_figures_are_counted_by_stack_and_function(capsys: pytest.CaptureFixture[str]) -> None:
    """Two stacks in an account do not add up."""
    JsonTelemetry("processor", "relay-a").event("call_lost", {"CallsLost": 1})
    (line,) = written(capsys)
    (metrics,) = line["_aws"]["CloudWatchMetrics"]
    assert metrics["Dimensions"] == [["stack", "function"]]
    assert (line["stack"], line["function"], line["CallsLost"]) == ("relay-a", "processor", 1)


def test_every_line_of_an_invocation_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    """The gateway's id and Lambda's stand beside ours; only the first is a cold start."""
    telemetry = JsonTelemetry("api", "relay-a")
    handler = identified(lambda _event, _context: telemetry.event("answered", request_id="ours"))
    for function_id in ("lambda-1", "lambda-2"):
        handler(GATEWAY_EVENT, SimpleNamespace(aws_request_id=function_id))
    ids = ("request_id", "gateway_request_id", "function_request_id", "cold_start")
    assert [tuple(line.get(key) for key in ids) for line in written(capsys)] == [
        ("ours", "gateway-1", "lambda-1", True),
        ("ours", "gateway-1", "lambda-2", None),
    ]


def test_an_event_that_is_not_the_gateway_s_has_no_gateway_id(capsys: pytest.CaptureFixture[str]) -> None:
    """The schedule's and the queue's."""
    telemetry = JsonTelemetry("processor", "relay-a")
    handler = identified(lambda _event, _context: telemetry.event("run_ended"))
    handler(None, SimpleNamespace(aws_request_id="lambda-1"))
    assert "gateway_request_id" not in written(capsys)[0]


async def test_a_line_says_what_it_is_about(capsys: pytest.CaptureFixture[str]) -> None:
    """Also a line of a task that began inside; afterwards no line does."""
    telemetry = JsonTelemetry("api", "relay-a")

    async def step() -> None:
        telemetry.event("step")

    with telemetry.about(request_id="one"):
        task = asyncio.create_task(step())
        telemetry.event("inside")
    await task
    telemetry.event("outside")
    lines = {line["event"]: line.get("request_id") for line in written(capsys)}
    assert lines == {"inside": "one", "step": "one", "outside": None}
