"""What the processor function reads from its environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from core.config import CallSettings, Reader


@dataclass(frozen=True, slots=True)
class ProcessorSettings:
    """The processor function's settings."""

    calls: CallSettings
    table: str
    window_table: str
    secret_id: str
    work_queue_url: str
    notification_queue_url: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Parse the environment; raises `SettingError`."""
        reader = Reader(environment)
        return cls(
            calls=CallSettings.read(reader),
            table=reader.text("TABLE_NAME"),
            window_table=reader.text("WINDOW_TABLE_NAME"),
            secret_id=reader.text("SECRET_ID"),
            work_queue_url=reader.text("WORK_QUEUE_URL"),
            notification_queue_url=reader.text("NOTIFICATION_QUEUE_URL"),
        )
