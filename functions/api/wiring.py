"""Puts the API function together from its environment."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from adapters import aws, wiring
from adapters.clock import SystemClock, SystemRandomness
from adapters.dynamodb_claims import DynamoClaimStore
from adapters.dynamodb_history import DynamoHistory
from adapters.dynamodb_jobs import DynamoJobStore
from adapters.secrets import SecretsManager
from adapters.sqs import SqsQueue
from adapters.telemetry import JsonTelemetry
from api.own import Own
from api.repeats import Repeats
from api.services import Services
from api.settings import ApiSettings
from api.signing import Signing
from api.statuses import Statuses
from calling.calls import Caller
from calling.outcomes import Outcomes
from calling.slots import Slots
from console.dead_letters import DeadLetters
from console.overview import Console
from console.routes import headline
from core.secrets import Secrets
from ports import ClaimStore, Countable, History, Ports
from web.access import Access

ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class ApiPorts(Ports):
    """The ports of the API. `checks`: the checks of `/health`, by name."""

    claims: ClaimStore
    dead_letters: Mapping[str, Countable]
    history: History
    secrets: Callable[[], Awaitable[Secrets]]
    checks: Mapping[str, Callable[[], Awaitable[object]]]


def assemble(ports: ApiPorts, settings: ApiSettings) -> Services:
    """Return what the application serves."""
    calls = settings.calls
    slots = Slots(ports.window_store, ports.clock, ports.randomness, calls.timing)
    outcomes = Outcomes(ports, slots, calls)
    caller = Caller(ports, slots, outcomes, calls)
    access = Access(ports.secrets, ports.clock, calls.age_max_ms)
    dead_letters = DeadLetters(ports.dead_letters, ports.clock, ports.telemetry)
    console = Console(ports, slots, ports.history, dead_letters)
    return Services(
        signing=Signing(ports, slots, caller, calls),
        repeats=Repeats(ports.claims, ports.clock, ports.telemetry),
        statuses=Statuses(ports.store, slots, ports.clock),
        own=Own(ports.store, outcomes, ports.clock),
        console=console,
        access=access,
        headline=headline,
        secrets=ports.secrets,
        checks=ports.checks,
        clock=ports.clock,
        randomness=ports.randomness,
        telemetry=ports.telemetry,
        settings=settings,
    )


def wire(environment: Mapping[str, str]) -> Services:
    """Return the services, without any network access; raises `SettingError`."""
    settings = ApiSettings.read(environment)
    clock = SystemClock()
    client = aws.clients(environment, aws.config(attempts=ATTEMPTS))
    dynamodb, sqs = client("dynamodb"), client("sqs")
    secrets = SecretsManager(client("secretsmanager"), settings.secret_id, clock)
    window_store = wiring.window_store(dynamodb, settings.window_table, settings.calls, clock)
    work_queue = SqsQueue(sqs, settings.work_queue_url)
    ports = ApiPorts(
        store=DynamoJobStore(dynamodb, settings.table),
        window_store=window_store,
        upstream=wiring.upstream(settings.calls, secrets, clock),
        work_queue=work_queue,
        notifications=SqsQueue(sqs, settings.notification_queue_url),
        clock=clock,
        randomness=SystemRandomness(),
        telemetry=JsonTelemetry("api", environment.get("STACK_NAME", "")),
        claims=DynamoClaimStore(dynamodb, settings.table),
        history=DynamoHistory(dynamodb, settings.table),
        dead_letters={
            "work": SqsQueue(sqs, settings.work_dead_letter_queue_url),
            "notification": SqsQueue(sqs, settings.notification_dead_letter_queue_url),
        },
        secrets=secrets.get,
        checks={"database": window_store.read, "queue": work_queue.count, "secrets": secrets.get},
    )
    return assemble(ports, settings)
