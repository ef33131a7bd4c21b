"""Puts the notifier function together from its environment."""

from collections.abc import Mapping
from dataclasses import dataclass

from adapters import aws
from adapters.clock import SystemClock, SystemRandomness
from adapters.dynamodb_hosts import DynamoHostStore
from adapters.dynamodb_jobs import DynamoJobStore
from adapters.poster import Poster
from adapters.secrets import SecretsManager, parse_and_check
from adapters.sqs import SqsQueue
from adapters.telemetry import JsonTelemetry
from core import webhook
from core.config import VERSION
from notifier.deliver import Deliverer
from notifier.hosts import Hosts
from notifier.settings import NotifierSettings
from ports import Telemetry

ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Services:
    """What the handler needs."""

    deliverer: Deliverer
    telemetry: Telemetry


def wire(environment: Mapping[str, str]) -> Services:
    """Return the services; raises `SettingError`. No network is touched."""
    settings = NotifierSettings.read(environment)
    clock, randomness, telemetry = (
        SystemClock(),
        SystemRandomness(),
        JsonTelemetry("notifier", environment.get("STACK_NAME", "")),
    )
    session, config = aws.session(), aws.config(attempts=ATTEMPTS)
    dynamodb = session.client("dynamodb", config=config)
    secrets = SecretsManager(
        session.client("secretsmanager", config=config), settings.secret_id, clock, parse_and_check
    )

    async def sign(body: bytes, webhook_id: str, timestamp_s: int, client: str) -> dict[str, str]:
        secret = await secrets.get()
        signers = []
        if secret.signing_keys:
            from adapters.ed25519 import signer  # noqa: PLC0415 - `cryptography` is slow to load

            signers = [signer(key) for key in secret.signing_keys]
        return webhook.sign(body, webhook_id, timestamp_s, secret.webhook_secrets_of(client), signers)

    deliverer = Deliverer(
        DynamoJobStore(dynamodb, settings.table),
        SqsQueue(session.client("sqs", config=config), settings.notification_queue_url),
        Hosts(DynamoHostStore(dynamodb, settings.table), clock, randomness, telemetry),
        Poster(settings.egress, VERSION),
        sign,
        clock,
        randomness,
        telemetry,
        settings.delays_ms,
    )
    return Services(deliverer, telemetry)
