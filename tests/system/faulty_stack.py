"""An embedded stack whose functions reach everything through a fault proxy."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx

from tests.system.fault_proxy import Fault, FaultProxy
from tests.system.stack import NO_FAULTS, RunningStack, running_stack

CALLS = 4
WINDOW_S = 2.0
SETTINGS = {
    "UPSTREAM_LIMIT": str(CALLS),
    "UPSTREAM_WINDOW_SECONDS": str(WINDOW_S),
    "UPSTREAM_RETRY_SECONDS": "1",
    "UPSTREAM_TIMEOUT_SECONDS": "2",
    "UPSTREAM_GRACE_SECONDS": "0.2",
    # A healthy upstream: whatever fails is the proxy's doing.
    **NO_FAULTS,
    "STANDIN_LATENCY_MS": "50",
    "STANDIN_LATENCY_SIGMA": "0",
}
# By function: the variables that lead it to each service of the proxy. The processor keeps its own way to the
# database and to the secret, so that it drains what is accepted between two cells.
ROUTES = {
    "ApiFunction": {
        "AWS_ENDPOINT_URL_DYNAMODB": "dynamodb",
        "AWS_ENDPOINT_URL_SQS": "sqs",
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": "secrets",
        "AWS_ENDPOINT_URL_LAMBDA": "waking",
        "UPSTREAM_URL": "upstream",
        "WORK_QUEUE_URL": "sqs",
        "WORK_DEAD_LETTER_QUEUE_URL": "sqs",
        "NOTIFICATION_QUEUE_URL": "sqs",
        "NOTIFICATION_DEAD_LETTER_QUEUE_URL": "sqs",
    },
    "ProcessorFunction": {
        "AWS_ENDPOINT_URL_SQS": "sqs",
        "UPSTREAM_URL": "upstream",
        "WORK_QUEUE_URL": "sqs",
        "NOTIFICATION_QUEUE_URL": "sqs",
    },
}


@dataclass
class FaultyStack:
    """A stack, and the proxy in its middle."""

    running: RunningStack
    proxy: FaultProxy
    routes: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: ROUTES)
    _renewals: "count[int]" = field(default_factory=count)

    def reroute(self) -> None:
        """Lead the functions through the proxy."""
        for function, route in self.routes.items():
            before = self._environment(function)
            changed = {
                name: _through(self.proxy.services[service].url, before.get(name, ""))
                for name, service in route.items()
            }
            self._configure(function, {**before, **changed})

    def make_cold(self) -> None:
        """End the API's workers: whoever asks next waits for a new one."""
        before = self._environment("ApiFunction")
        self._configure("ApiFunction", {**before, "RENEWED": str(next(self._renewals))})

    async def warm(self, workers: int, path: str = "/") -> None:
        """Start workers that have fetched and connected nothing yet; with `/health` they have."""
        url = f"{self.running.deployment.api_url}{path}"
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            await asyncio.gather(*(client.get(url) for _ in range(workers)))

    def _environment(self, function: str) -> dict[str, str]:
        name = self.running.resources[function]
        answer = self.running.session.client("lambda").get_function_configuration(FunctionName=name)
        environment: dict[str, str] = answer["Environment"]["Variables"]
        return environment

    def _configure(self, function: str, environment: Mapping[str, str]) -> None:
        """Change a function's environment: new workers start with it."""
        client, name = self.running.session.client("lambda"), self.running.resources[function]
        client.update_function_configuration(FunctionName=name, Environment={"Variables": dict(environment)})


@contextmanager
def faulty_stack(folder: Path, **faults: Fault) -> Iterator[FaultyStack]:
    """Start a stack that nothing passes but through the proxy, which has these faults from the start."""
    with running_stack(folder, **SETTINGS) as running:
        aws_url = running.stack.settings.aws_url
        targets = dict.fromkeys(("dynamodb", "sqs", "secrets", "waking"), aws_url)
        proxy = FaultProxy({**targets, "upstream": running.upstream_url})
        with proxy.running():
            proxy.turn(**faults)
            faulty = FaultyStack(running, proxy)
            faulty.reroute()
            yield faulty


def _through(proxy_url: str, url: str) -> str:
    """Return the address with the proxy in the place of host and port."""
    parts = urlsplit(proxy_url)
    return urlunsplit(urlsplit(url)._replace(scheme=parts.scheme, netloc=parts.netloc))
