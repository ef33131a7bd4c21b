"""Structured log lines on standard output; figures in CloudWatch's embedded metric format."""

import json
import sys
import time
from collections.abc import Mapping

NAMESPACE = "SigningRelay"


class JsonTelemetry:
    """A `ports.Telemetry`: one JSON object per line."""

    def __init__(self, function: str) -> None:
        self._function = function

    def event(self, name: str, metrics: Mapping[str, float] | None = None, **fields: object) -> None:
        """Write one line. Fields that are empty are left out."""
        line: dict[str, object] = {"event": name, "function": self._function}
        line |= {key: value for key, value in fields.items() if value not in (None, "")}
        if metrics:
            line |= metrics
            line["_aws"] = self._embedded(metrics)
        sys.stdout.write(json.dumps(line, default=str) + "\n")
        sys.stdout.flush()

    def _embedded(self, metrics: Mapping[str, float]) -> dict[str, object]:
        definitions = [{"Name": name} for name in metrics]
        return {
            "Timestamp": int(time.time() * 1000),
            "CloudWatchMetrics": [
                {"Namespace": NAMESPACE, "Dimensions": [["function"]], "Metrics": definitions}
            ],
        }
