"""What the notifier function reads from its environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from core.config import Reader, read_policy
from core.egress import Policy

DELAYS_S = "5,300,1800,7200,18000,36000,36000"
DELAY_S_MAX = 1_209_600


@dataclass(frozen=True, slots=True)
class NotifierSettings:
    """The notifier function's settings. `delays_ms`: before the second attempt, the third, and so on."""

    egress: Policy
    delays_ms: tuple[int, ...]
    table: str
    secret_id: str
    notification_queue_url: str
    retry_queue_url: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Parse the environment; raises `SettingError`."""
        reader = Reader(environment)
        return cls(
            egress=read_policy(reader),
            delays_ms=reader.milliseconds_list("WEBHOOK_RETRY_SECONDS", DELAYS_S, DELAY_S_MAX),
            table=reader.text("TABLE_NAME"),
            secret_id=reader.text("SECRET_ID"),
            notification_queue_url=reader.text("NOTIFICATION_QUEUE_URL"),
            retry_queue_url=reader.text("NOTIFICATION_RETRY_QUEUE_URL"),
        )
