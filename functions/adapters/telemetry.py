"""Structured log lines on standard output; metrics in CloudWatch's embedded metric format."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from core.config import VERSION

NAMESPACE = "SigningRelay"
DIMENSIONS = [["stack", "function"]]
BY_LAMBDA: ContextVar[Mapping[str, object]] = ContextVar("BY_LAMBDA", default=MappingProxyType({}))
"""The log fields of the current Lambda invocation."""
ABOUT: ContextVar[Mapping[str, object]] = ContextVar("ABOUT", default=MappingProxyType({}))
"""The log fields of what is being worked on."""


class JsonTelemetry:
    """A `ports.Telemetry`: one JSON object per line."""

    def __init__(self, function: str, stack: str) -> None:
        """`function` and `stack` separate these metrics from those of other functions and stacks."""
        self._origin = {"function": function, "stack": stack, "version": VERSION}

    def event(self, name: str, metrics: Mapping[str, float] | None = None, **fields: object) -> None:
        """Write one line. Fields that are empty are left out."""
        now_s = time.time()
        line: dict[str, object] = {"time": _iso(now_s), "level": _level(fields), "event": name}
        line |= self._origin
        line |= BY_LAMBDA.get()
        line |= {key: value for key, value in {**ABOUT.get(), **fields}.items() if value not in (None, "")}
        if metrics:
            line |= metrics
            line["_aws"] = _embedded(metrics, int(now_s * 1000))
        sys.stdout.write(json.dumps(line, default=str, separators=(",", ":")) + "\n")
        sys.stdout.flush()

    @contextmanager
    def about(self, **fields: object) -> Iterator[None]:
        """Add fields to each line that is written inside, also by tasks that begin inside."""
        outer = ABOUT.set({**ABOUT.get(), **fields})
        try:
            yield
        finally:
            ABOUT.reset(outer)


def identified(handler: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Wrap a function's handler: its log lines name Lambda's request id, the gateway's, and a cold start."""
    is_cold = True

    def handle(event: Any, context: Any) -> Any:
        nonlocal is_cold
        gateway = event.get("requestContext", {}).get("requestId") if isinstance(event, dict) else None
        fields = {"cold_start": is_cold, "function_request_id": context.aws_request_id}
        fields["gateway_request_id"] = gateway
        BY_LAMBDA.set({name: value for name, value in fields.items() if value})
        is_cold = False
        return handler(event, context)

    return handle


def _iso(now_s: float) -> str:
    return datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _level(fields: Mapping[str, object]) -> str:
    """Return the level: a field `error` means a fault in the code, `reason` an expected failure."""
    if fields.get("error"):
        return "ERROR"
    return "WARNING" if fields.get("reason") else "INFO"


def _embedded(metrics: Mapping[str, float], now_ms: int) -> dict[str, object]:
    definitions = [{"Name": name} for name in metrics]
    return {
        "Timestamp": now_ms,
        "CloudWatchMetrics": [
            {"Namespace": NAMESPACE, "Dimensions": DIMENSIONS, "Metrics": definitions},
        ],
    }
