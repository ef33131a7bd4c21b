"""Settings: parsed once, from a mapping, into frozen values within their bounds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from core.clocks import CALL_LIMIT_MS_MAX, GRACE_MS_MAX, SKEW_MS_MAX, WAIT_MS_MAX
from core.egress import PORT_MAX, Policy
from core.errors import SettingError
from core.window import CALLS_MAX, WINDOW_MS_MAX, WINDOW_MS_MIN, Limits, Timing

TRUE = frozenset({"true", "1", "yes", "on"})
FALSE = frozenset({"false", "0", "no", "off"})
WEBHOOK_RETRIES_MAX = 20
VERSION = "0.2.0"


class Reader:
    """Reads one setting at a time; an empty value counts as not set.

    Every method raises `SettingError`, which names the variable and what was expected. Values are never
    repeated in an error: one of them may be a key that was pasted into the wrong line.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def text(self, name: str, default: str | None = None) -> str:
        """Return the value, or the default; without a default the setting is required."""
        value = self._values.get(name, "").strip()
        if value:
            return value
        if default is None:
            raise SettingError(f"{name} is required")
        return default

    def integer(self, name: str, default: int, minimum: int, maximum: int) -> int:
        """Return a whole number within the bounds, both included."""
        expected = f"{name} must be a whole number from {minimum} to {maximum}"
        try:
            value = int(self.text(name, str(default)))
        except ValueError:
            raise SettingError(expected) from None
        if not minimum <= value <= maximum:
            raise SettingError(expected)
        return value

    def milliseconds(self, name: str, default_s: float, minimum_s: float, maximum_s: float) -> int:
        """Read a number of seconds (fractions allowed) and return milliseconds."""
        expected = f"{name} must be a number of seconds from {minimum_s:g} to {maximum_s:g}"
        try:
            value = float(self.text(name, str(default_s)))
        except ValueError:
            raise SettingError(expected) from None
        if not minimum_s <= value <= maximum_s:  # also refuses NaN
            raise SettingError(expected)
        return round(value * 1000)

    def milliseconds_list(self, name: str, default: str, maximum_s: float) -> tuple[int, ...]:
        """Read comma-separated seconds and return milliseconds; at least one, at most 20."""
        expected = (
            f"{name} must be 1 to {WEBHOOK_RETRIES_MAX} comma-separated numbers of seconds "
            f"from 0 to {maximum_s:g}"
        )
        try:
            seconds = [float(part) for part in self.text(name, default).split(",")]
        except ValueError:
            raise SettingError(expected) from None
        if len(seconds) > WEBHOOK_RETRIES_MAX or not all(0 <= value <= maximum_s for value in seconds):
            raise SettingError(expected)
        return tuple(round(value * 1000) for value in seconds)

    def flag(self, name: str, default: bool) -> bool:
        """Return a boolean: true or false, also 1/0, yes/no, on/off."""
        value = self.text(name, "true" if default else "false").lower()
        if value not in TRUE | FALSE:
            raise SettingError(f"{name} must be true or false")
        return value in TRUE

    def url(self, name: str, default: str | None = None) -> str:
        """Return an http or https URL without credentials, query or trailing slash."""
        value = self.text(name, default).rstrip("/")
        try:
            parts = urlsplit(value)
            usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable or parts.username is not None or parts.query or parts.fragment:
            raise SettingError(f"{name} must be an http or https URL without credentials or a query")
        return value

    def names(self, name: str) -> frozenset[str]:
        """Return comma-separated names, in lower case."""
        return frozenset(part.strip().lower() for part in self.text(name, "").split(",") if part.strip())


@dataclass(frozen=True, slots=True)
class CallSettings:
    """How the upstream may be called, and how much one caller may have. All durations in milliseconds.

    `client_backlog_share`: one caller's share of the waiting jobs. `client_requests_max`: its open requests.
    """

    url: str
    limits: Limits
    timing: Timing
    call_limit_ms: int
    retry_ms: int
    attempts_max: int
    age_max_ms: int
    signature_ttl_ms: int
    client_backlog_share: float = 0.5
    client_requests_max: int = 10_000

    @property
    def first_call_max_ms(self) -> int:
        """How long an accepted request may wait for its first call."""
        return self.age_max_ms // 2

    @property
    def late_ms(self) -> int:
        """How long it waits until every second call is for the oldest such request."""
        return self.first_call_max_ms // 4

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read the `UPSTREAM_*` settings; raises `SettingError`."""
        window_ms = reader.milliseconds(
            "UPSTREAM_WINDOW_SECONDS", 60, WINDOW_MS_MIN / 1000, WINDOW_MS_MAX / 1000
        )
        return cls(
            url=reader.url("UPSTREAM_URL"),
            limits=Limits(reader.integer("UPSTREAM_LIMIT", 10, 1, CALLS_MAX), window_ms),
            timing=Timing(
                grace_ms=reader.milliseconds("UPSTREAM_GRACE_SECONDS", 10, 0, GRACE_MS_MAX / 1000),
                margin_ms=reader.milliseconds("CLOCK_MARGIN_SECONDS", 0.25, 0.01, SKEW_MS_MAX / 1000),
            ),
            call_limit_ms=reader.milliseconds("UPSTREAM_TIMEOUT_SECONDS", 30, 0.1, CALL_LIMIT_MS_MAX / 1000),
            retry_ms=reader.milliseconds("UPSTREAM_RETRY_SECONDS", 30, 0.1, WAIT_MS_MAX / 1000),
            attempts_max=reader.integer("UPSTREAM_MAX_ATTEMPTS", 60, 1, 10_000),
            age_max_ms=reader.milliseconds("UPSTREAM_MAX_AGE_SECONDS", 21_600, 1, 1_209_600),
            signature_ttl_ms=reader.milliseconds("SIGNATURE_TTL_SECONDS", 3600, 0, 1_209_600),
            client_backlog_share=reader.integer("CLIENT_BACKLOG_PERCENT", 50, 1, 100) / 100,
        )


def read_policy(reader: Reader) -> Policy:
    """Read which hosts webhooks may be sent to; raises `SettingError`."""
    ports = reader.text("WEBHOOK_PORTS", "443,8443").split(",")
    if not all(port.strip().isdecimal() and 0 < int(port) <= PORT_MAX for port in ports):
        raise SettingError(f"WEBHOOK_PORTS must be comma-separated numbers from 1 to {PORT_MAX}")
    try:
        return Policy(
            ports=frozenset(int(port) for port in ports),
            allow_hosts=reader.names("WEBHOOK_ALLOW_HOSTS"),
            deny_hosts=reader.names("WEBHOOK_DENY_HOSTS"),
            allow_private=reader.flag("WEBHOOK_ALLOW_PRIVATE", default=False),
        )
    except ValueError as error:
        raise SettingError(f"WEBHOOK_ALLOW_HOSTS or WEBHOOK_DENY_HOSTS: {error}") from None
