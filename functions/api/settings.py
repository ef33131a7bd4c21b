"""What the API function reads from its environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from core.config import CallSettings, Reader, read_policy
from core.egress import Policy, with_own


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """The API function's settings."""

    calls: CallSettings
    egress: Policy
    table: str
    window_table: str
    secret_id: str
    work_queue_url: str
    work_dead_letter_queue_url: str
    notification_queue_url: str
    notification_dead_letter_queue_url: str
    public_url: str
    cors_origins: frozenset[str]
    trust_request_start: bool
    sam_local: bool

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Parse the environment; raises `SettingError`."""
        reader = Reader(environment)
        calls, public_url = CallSettings.read(reader), reader.text("PUBLIC_URL", "").rstrip("/")
        return cls(
            calls=calls,
            egress=with_own(read_policy(reader), calls.url, public_url),
            table=reader.text("TABLE_NAME"),
            window_table=reader.text("WINDOW_TABLE_NAME"),
            secret_id=reader.text("SECRET_ID"),
            work_queue_url=reader.text("WORK_QUEUE_URL"),
            work_dead_letter_queue_url=reader.text("WORK_DEAD_LETTER_QUEUE_URL"),
            notification_queue_url=reader.text("NOTIFICATION_QUEUE_URL"),
            notification_dead_letter_queue_url=reader.text("NOTIFICATION_DEAD_LETTER_QUEUE_URL"),
            public_url=public_url,
            cors_origins=reader.names("CORS_ALLOW_ORIGINS"),
            # Set it only behind the service's own front: on AWS a client could send the header.
            trust_request_start=reader.flag("TRUST_REQUEST_START", default=False),
            sam_local=reader.flag("AWS_SAM_LOCAL", default=False),
        )
