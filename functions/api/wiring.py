"""Puts the API function together from its environment."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from adapters import aws
from adapters.aws import READ_TIMEOUT_S
from adapters.clock import SystemClock, SystemRandomness
from adapters.dead_letters import SqsDeadLetters
from adapters.dynamodb_jobs import DynamoJobStore
from adapters.dynamodb_window import DynamoWindowStore
from adapters.secrets import SecretsManager
from adapters.sqs import SqsQueue
from adapters.telemetry import JsonTelemetry
from adapters.upstream import HttpUpstream
from adapters.waker import LambdaWaker
from api.app import Services
from api.console import Console
from api.redriving import Redriving
from api.settings import ApiSettings
from api.signing import Signing
from api.statuses import Statuses
from calling.calls import Caller
from calling.outcomes import Outcomes
from calling.redrive import RECEIVE_WAIT_MS, Line
from calling.slots import Slots
from core import window as windows
from core.gate import Gate
from core.messages import decode_fresh, decode_notification
from core.secrets import Secrets
from ports import Ports, Waker

ATTEMPTS = 2
HELD_S = 30  # what a redrive has in its hands when it is cut short is there again after that


@dataclass(frozen=True, slots=True)
class ApiPorts(Ports):
    """The world, as the API needs it. `checks`: what `/health` asks, by name."""

    waker: Waker
    lines: tuple[Line, ...]
    secrets: Callable[[], Awaitable[Secrets]]
    checks: Mapping[str, Callable[[], Awaitable[object]]]


def assemble(ports: ApiPorts, settings: ApiSettings) -> Services:
    """Return what the application serves."""
    calls = settings.calls
    slots = Slots(ports.window_store, ports.clock, ports.randomness, calls.timing)
    caller = Caller(ports, slots, Outcomes(ports, slots, calls), calls)
    return Services(
        signing=Signing(ports, slots, caller, ports.waker, calls),
        statuses=Statuses(ports.store, slots, ports.clock),
        console=Console(ports.store, slots, ports.waker, ports.clock, ports.telemetry),
        redriving=Redriving(ports.lines, ports.clock, ports.telemetry),
        secrets=ports.secrets,
        checks=ports.checks,
        clock=ports.clock,
        randomness=ports.randomness,
        telemetry=ports.telemetry,
        settings=settings,
    )


def wire(environment: Mapping[str, str]) -> Services:
    """Return the services; raises `SettingError`. No network is touched."""
    settings = ApiSettings.read(environment)
    calls, clock = settings.calls, SystemClock()
    session, config = aws.session(), aws.config(attempts=ATTEMPTS)
    dynamodb = session.client("dynamodb", config=config)
    sqs = session.client("sqs", config=config)
    secrets = SecretsManager(session.client("secretsmanager", config=config), settings.secret_id, clock)
    lease_ms = calls.timing.lease_ms(calls.call_limit_ms, calls.limits.window_ms)
    window_store = DynamoWindowStore(
        dynamodb, settings.window_table, lambda: Gate(windows.full(calls.limits, clock.now_ms() + lease_ms))
    )
    fresh_queue = SqsQueue(sqs, settings.fresh_queue_url)
    notifications = SqsQueue(sqs, settings.notification_queue_url)
    waits = aws.config(attempts=1, read_timeout_s=READ_TIMEOUT_S + RECEIVE_WAIT_MS / 1000)
    patient_sqs = session.client("sqs", config=waits)
    fresh_dead = SqsDeadLetters(patient_sqs, settings.fresh_dead_letter_queue_url, HELD_S)
    notification_dead = SqsDeadLetters(patient_sqs, settings.notification_dead_letter_queue_url, HELD_S)
    ports = ApiPorts(
        store=DynamoJobStore(dynamodb, settings.table),
        window_store=window_store,
        upstream=HttpUpstream(
            calls.url,
            lambda: secrets.current().upstream_key,
            clock,
            secrets.expire,
            grace_ms=calls.timing.grace_ms,
        ),
        fresh_queue=fresh_queue,
        notifications=notifications,
        clock=clock,
        randomness=SystemRandomness(),
        telemetry=JsonTelemetry("api"),
        waker=LambdaWaker(lambda: session.client("lambda", config=config), settings.processor_function),
        lines=(
            Line("fresh", fresh_queue, fresh_dead, decode_fresh),
            Line("notification", notifications, notification_dead, decode_notification),
        ),
        secrets=secrets.get,
        checks={"database": window_store.read, "queue": fresh_queue.check, "secrets": secrets.get},
    )
    return assemble(ports, settings)
