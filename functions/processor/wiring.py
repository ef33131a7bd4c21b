"""Puts the processor function together from its environment."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from adapters import aws, wiring
from adapters.clock import SystemClock, SystemRandomness
from adapters.deployment import LambdaDeployment
from adapters.dynamodb_history import DynamoHistory
from adapters.dynamodb_jobs import DynamoJobStore
from adapters.secrets import SecretsManager
from adapters.sqs import SqsQueue
from adapters.telemetry import JsonTelemetry
from calling.calls import Caller
from calling.outcomes import Outcomes
from calling.slots import Slots
from core.config import CallSettings
from core.messages import WakeUp
from ports import Telemetry
from processor.backoff import Backoff
from processor.counts import Counts
from processor.figures import waiting
from processor.keycheck import KeyCheck
from processor.minutes import Minutes
from processor.open_counts import OpenCounts
from processor.run import ProcessorPorts, Run
from processor.settings import ProcessorSettings
from processor.sweep import Sweep

ATTEMPTS = 3
READ_TIMEOUT_S = 3.0
PROBE_LIMIT_MS = 5_000


class Processor:
    """Makes runs. Between runs it keeps which records to skip and which counts may be wrong."""

    def __init__(self, ports: ProcessorPorts, calls: CallSettings) -> None:
        self._ports = ports
        self._calls = calls
        self._backoff = Backoff()
        self._counts = Counts()
        self._open_counts = OpenCounts()

    async def run(self, wake_ups: Sequence[WakeUp] = ()) -> int:
        """Make one run, for the wake-ups that started it; return how many calls it made."""
        ports, calls = self._ports, self._calls
        slots = Slots(ports.window_store, ports.clock, ports.randomness, calls.timing)
        outcomes = Outcomes(ports, slots, calls)
        caller = Caller(ports, slots, outcomes, calls)
        key_check = KeyCheck(ports, slots, call_limit_ms=min(calls.call_limit_ms, PROBE_LIMIT_MS))
        sweep = Sweep(ports, slots, outcomes, self._backoff, calls)
        counts, open_counts = self._counts, self._open_counts
        run = Run(ports, slots, caller, outcomes, sweep, key_check, self._backoff, counts, open_counts, calls)
        return await run.run(wake_ups)


def assemble(ports: ProcessorPorts, calls: CallSettings) -> Processor:
    """Return the processor of one instance."""
    return Processor(ports, calls)


@dataclass(frozen=True, slots=True)
class Services:
    """What the handler needs. `waiting`: returns the metrics of a scheduled run.

    `minutes`: writes the state of the service once a minute.
    """

    secrets: SecretsManager
    processor: Processor
    waiting: Callable[[], Awaitable[dict[str, float]]]
    minutes: Minutes
    telemetry: Telemetry


def wire(environment: Mapping[str, str]) -> Services:
    """Return the services, without any network access; raises `SettingError`."""
    settings = ProcessorSettings.read(environment)
    clock, telemetry = SystemClock(), JsonTelemetry("processor", environment.get("STACK_NAME", ""))
    client = aws.clients(environment, aws.config(attempts=ATTEMPTS, read_timeout_s=READ_TIMEOUT_S))
    dynamodb, sqs = client("dynamodb"), client("sqs")
    secrets = SecretsManager(client("secretsmanager"), settings.secret_id, clock)
    ports = ProcessorPorts(
        store=DynamoJobStore(dynamodb, settings.table),
        window_store=wiring.window_store(dynamodb, settings.window_table, settings.calls, clock),
        upstream=wiring.upstream(settings.calls, secrets, clock),
        work_queue=SqsQueue(sqs, settings.work_queue_url),
        notifications=SqsQueue(sqs, settings.notification_queue_url),
        deployment=LambdaDeployment(
            lambda: client("lambda"), environment.get("AWS_LAMBDA_FUNCTION_NAME", "")
        ),
        clock=clock,
        randomness=SystemRandomness(),
        telemetry=telemetry,
    )
    minutes = Minutes(
        ports.store, ports.window_store, DynamoHistory(dynamodb, settings.table), clock, telemetry
    )
    return Services(
        secrets,
        assemble(ports, settings.calls),
        lambda: waiting(ports.store, ports.window_store, clock, telemetry),
        minutes,
        telemetry,
    )
