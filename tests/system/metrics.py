"""Which metrics a function's code can emit, and which are watched: read from code and template."""

import ast
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from core.answers import Meaning
from core.request import DeliveryState, RequestState
from tests.system.actions import reachable
from tests.system.template import TEMPLATE, properties

NAMESPACE = "SigningRelay"
# A metric's name that ends in a value: its beginning, and the values that can follow.
COMPOSED: dict[str, set[str]] = {
    "Upstream": {value.title().replace("_", "") for value in set(Meaning) - {Meaning.WELCOME}},  # a probe's
    "Requests": {value.title() for value in set(RequestState) - {RequestState.OPEN}},
    "Webhooks": {value.title() for value in set(DeliveryState) - {DeliveryState.NONE}},
    "Answers": {"2xx", "3xx", "4xx", "5xx"},
}


def emitted(package: str) -> set[str]:
    """Return the metrics of the modules that the function's handler reaches."""
    trees = reachable(f"{package}.handler").values()
    keys = [key for tree in trees for figures in _figures(tree) for key in figures.keys]
    return {name for key in keys for name in _names(key)}


def _figures(tree: ast.Module) -> Iterator[ast.Dict]:
    """Yield the second argument of each event, and what functions return that return figures."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "event":
            yield from (argument for argument in node.args[1:2] if isinstance(argument, ast.Dict))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _returns_figures(node):
            returned = (row.value for row in ast.walk(node) if isinstance(row, ast.Return))
            yield from (value for value in returned if isinstance(value, ast.Dict))


def _returns_figures(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return node.returns is not None and ast.unparse(node.returns) == "dict[str, float]"


def _names(key: ast.expr | None) -> Iterator[str]:
    if isinstance(key, ast.Constant):
        yield str(key.value)
    elif isinstance(key, ast.JoinedStr):
        (start,) = (str(part.value) for part in key.values[:1] if isinstance(part, ast.Constant))
        yield from (f"{start}{end}" for end in COMPOSED[start])


def dashboard_text() -> str:
    """Return the dashboard's body with its widget of alarms, and with references in it."""
    body, parts = properties("Dashboard")["DashboardBody"]["Sub"]
    _, widget, _ = parts["AlarmsWidget"]["If"]
    text: str = body.replace("${AlarmsWidget}", widget["Sub"])
    return text


def dashboard() -> list[dict[str, object]]:
    """Return the properties of the dashboard's widgets."""
    body = re.sub(r"\$\{[^}]+\}", "1", dashboard_text())
    return [widget["properties"] for widget in json.loads(body)["widgets"]]


def on_dashboard() -> set[tuple[str, str]]:
    """Return the function and the name of each metric of ours that a widget shows."""
    rows = [row for widget in dashboard() for row in widget.get("metrics", [])]  # type: ignore[attr-defined]
    return {(row[5], row[1]) for row in rows if row[0] == NAMESPACE}


def in_alarms() -> set[tuple[str, str]]:
    """Return the same for the alarms."""
    return {(_dimensions(row)["function"], row["MetricName"]) for row in alarms()}


def alarms() -> list[dict[str, Any]]:
    """Return the properties of the alarms on our own metrics."""
    names = [name for name, row in TEMPLATE["Resources"].items() if row["Type"] == "AWS::CloudWatch::Alarm"]
    found = [row for name in names for row in (properties(name), *_in_expressions(properties(name)))]
    return [row for row in found if row.get("Namespace") == NAMESPACE]


def _in_expressions(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    return [row["MetricStat"]["Metric"] for row in alarm.get("Metrics", []) if "MetricStat" in row]


def _dimensions(alarm: dict[str, Any]) -> dict[str, str]:
    return {row["Name"]: row["Value"] for row in alarm["Dimensions"]}


def overlaps() -> list[tuple[object, object]]:
    """Return the pairs of neighbouring widgets, in the order of the body, that start at the same place."""
    body = re.sub(r"\$\{[^}]+\}", "1", dashboard_text())
    places = sorted((widget["y"], widget["x"]) for widget in json.loads(body)["widgets"])
    return [(first, second) for first, second in pairwise(places) if first == second]
