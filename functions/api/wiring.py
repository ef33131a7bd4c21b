"""Puts the API function together from its environment."""

from collections.abc import Mapping

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
from calling.recording import Recorder
from calling.redrive import RECEIVE_WAIT_MS, Line
from calling.slots import Slots
from core import window as windows
from core.gate import Gate
from core.messages import decode_fresh, decode_notification

ATTEMPTS = 2
HELD_S = 30  # what a redrive has in its hands when it is cut short is there again after that


def wire(environment: Mapping[str, str]) -> Services:
    """Return the services; raises `SettingError`. No network is touched."""
    settings = ApiSettings.read(environment)
    calls = settings.calls
    clock, randomness, telemetry = SystemClock(), SystemRandomness(), JsonTelemetry("api")
    session, config = aws.session(), aws.config(attempts=ATTEMPTS)
    dynamodb = session.client("dynamodb", config=config)
    sqs = session.client("sqs", config=config)

    secrets = SecretsManager(session.client("secretsmanager", config=config), settings.secret_id, clock)
    store = DynamoJobStore(dynamodb, settings.table)
    lease_ms = calls.timing.lease_ms(calls.call_limit_ms, calls.limits.window_ms)
    window_store = DynamoWindowStore(
        dynamodb, settings.window_table, lambda: Gate(windows.full(calls.limits, clock.now_ms() + lease_ms))
    )
    slots = Slots(window_store, clock, randomness, calls.timing)
    upstream = HttpUpstream(
        calls.url,
        lambda: secrets.current().upstream_key,
        clock,
        secrets.expire,
        grace_ms=calls.timing.grace_ms,
    )
    caller = Caller(store, slots, upstream, clock, randomness, telemetry, calls)
    recorder = Recorder(store, clock, randomness, calls)
    fresh_queue = SqsQueue(sqs, settings.fresh_queue_url)
    notifications = SqsQueue(sqs, settings.notification_queue_url)
    waits = aws.config(attempts=1, read_timeout_s=READ_TIMEOUT_S + RECEIVE_WAIT_MS / 1000)
    patient_sqs = session.client("sqs", config=waits)
    fresh_dead = SqsDeadLetters(patient_sqs, settings.fresh_dead_letter_queue_url, HELD_S)
    notification_dead = SqsDeadLetters(patient_sqs, settings.notification_dead_letter_queue_url, HELD_S)
    lines = (
        Line("fresh", fresh_queue, fresh_dead, decode_fresh),
        Line("notification", notifications, notification_dead, decode_notification),
    )
    waker = LambdaWaker(lambda: session.client("lambda", config=config), settings.processor_function)
    return Services(
        signing=Signing(store, slots, caller, recorder, fresh_queue, waker, clock, telemetry, calls),
        statuses=Statuses(store, slots, clock),
        console=Console(store, slots, waker, clock, telemetry),
        redriving=Redriving(lines, clock, telemetry),
        secrets=secrets.get,
        checks={"database": window_store.read, "queue": fresh_queue.check, "secrets": secrets.get},
        clock=clock,
        randomness=randomness,
        telemetry=telemetry,
        settings=settings,
    )
