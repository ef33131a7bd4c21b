"""Puts the notifier function together from its environment."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapters import aws
from adapters.clock import SystemClock, SystemRandomness
from adapters.dynamodb_jobs import DynamoJobStore
from adapters.dynamodb_receivers import DynamoReceiverStore
from adapters.poster import HttpPoster
from adapters.secrets import SecretsManager, parse_and_check
from adapters.sqs import SqsQueue
from adapters.telemetry import JsonTelemetry
from core import webhook
from core.config import VERSION
from notifier.attempts import Attempts, NotifierPorts, Sign
from notifier.batch import Batch
from notifier.queues import Lane, ReceiverQueues
from notifier.receivers import Receivers
from notifier.settings import NotifierSettings

ATTEMPTS = 3
READ_TIMEOUT_S = 3.0  # longer than any wait at the queue
WORK_S = 60  # after that no attempt begins; the last one ends well before the function's time-out


@dataclass(frozen=True, slots=True)
class Notifier:
    """Makes a batch for each invocation. Nothing is kept between two invocations."""

    ports: NotifierPorts
    delays_ms: Sequence[int]
    retry_queue_name: str

    def batch(self, lane: Lane) -> Batch:
        """Return what delivers the messages of one invocation, which starts now."""
        ports = self.ports
        receivers = Receivers(ports.receivers, ports.clock, ports.randomness, ports.telemetry)
        attempts = Attempts(ports, self.delays_ms)
        stop_mono_ms = ports.clock.monotonic_ms() + WORK_S * 1000
        receiver_queues = ReceiverQueues(ports, attempts, receivers, lane=lane, stop_mono_ms=stop_mono_ms)
        queue = ports.retries if lane is Lane.RETRIES else ports.notifications
        stop_mono_s = asyncio.get_running_loop().time() + WORK_S
        return Batch(receiver_queues, queue, ports.telemetry, stop_mono_s=stop_mono_s)


def assemble(ports: NotifierPorts, settings: NotifierSettings) -> Notifier:
    """Return the notifier, without any I/O."""
    return Notifier(ports, settings.delays_ms, settings.retry_queue_url.rpartition("/")[2])


def wire(environment: Mapping[str, str]) -> Notifier:
    """Return the notifier, without any network access; raises `SettingError`."""
    settings = NotifierSettings.read(environment)
    clock = SystemClock()
    client = aws.clients(environment, aws.config(attempts=ATTEMPTS, read_timeout_s=READ_TIMEOUT_S))
    dynamodb, sqs = client("dynamodb"), client("sqs")
    secrets = SecretsManager(client("secretsmanager"), settings.secret_id, clock, parse_and_check)
    ports = NotifierPorts(
        store=DynamoJobStore(dynamodb, settings.table),
        receivers=DynamoReceiverStore(dynamodb, settings.table),
        poster=HttpPoster(settings.egress, VERSION),
        notifications=SqsQueue(sqs, settings.notification_queue_url),
        retries=SqsQueue(sqs, settings.retry_queue_url),
        sign=_signing(secrets),
        clock=clock,
        randomness=SystemRandomness(),
        telemetry=JsonTelemetry("notifier", environment.get("STACK_NAME", "")),
    )
    return assemble(ports, settings)


def _signing(secrets: SecretsManager) -> Sign:
    async def sign(body: bytes, webhook_id: str, timestamp_s: int, client: str) -> dict[str, str]:
        secret = await secrets.get()
        signers = []
        if secret.signing_keys:
            from adapters.ed25519 import signer  # noqa: PLC0415 - `cryptography` is slow to load

            signers = [signer(key) for key in secret.signing_keys]
        return webhook.sign(body, webhook_id, timestamp_s, secret.webhook_secrets_of(client), signers)

    return sign
