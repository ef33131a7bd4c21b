"""The local stack's settings: parsed once from a mapping into a validated, frozen value."""

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from dotenv import dotenv_values

from core import secrets
from core.config import CallSettings, Reader, read_policy
from core.errors import SettingError
from core.webhook import parse_secret

DEFAULT_KEY = "local-dev-key"
DEFAULT_CLIENTS = {"default": DEFAULT_KEY}
DEFAULT_OPERATOR_KEY = "local-operator-key"
WARM_WORKERS_MAX = 12
DELIVERY_DELAY_S_MAX = 1_209_600
PORT_MAX = 65535
LOOPBACK = "127.0.0.1"
LOOPBACK_NAMES = frozenset({LOOPBACK, "localhost", "::1"})

# Given to the template if set; otherwise the template's default applies.
SCHEDULE_S = 60.0
TEMPLATE_SETTINGS = (
    "UPSTREAM_LIMIT",
    "UPSTREAM_WINDOW_SECONDS",
    "UPSTREAM_RETRY_SECONDS",
    "UPSTREAM_MAX_ATTEMPTS",
    "UPSTREAM_MAX_AGE_SECONDS",
    "UPSTREAM_TIMEOUT_SECONDS",
    "UPSTREAM_GRACE_SECONDS",
    "CLOCK_MARGIN_SECONDS",
    "SIGNATURE_TTL_SECONDS",
    "CLIENT_BACKLOG_PERCENT",
    "WEBHOOK_RETRY_SECONDS",
    "WEBHOOK_PORTS",
    "WEBHOOK_ALLOW_HOSTS",
    "WEBHOOK_DENY_HOSTS",
    "CORS_ALLOW_ORIGINS",
)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens, on loopback."""

    api: int
    upstream: int
    inbox: int
    aws: int

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read the `*_PORT` settings, which must differ."""
        ports = cls(
            api=reader.integer("API_PORT", 8000, 1, PORT_MAX),
            upstream=reader.integer("UPSTREAM_PORT", 8100, 1, PORT_MAX),
            inbox=reader.integer("INBOX_PORT", 8200, 1, PORT_MAX),
            aws=reader.integer("AWS_PORT", 4566, 1, PORT_MAX),
        )
        if len({ports.api, ports.upstream, ports.inbox, ports.aws}) < len(cls.__slots__):
            raise SettingError("API_PORT, UPSTREAM_PORT, INBOX_PORT and AWS_PORT must differ")
        return ports


@dataclass(frozen=True, slots=True)
class Hosts:
    """The host names of the stack's parts: on one machine, or in one container each."""

    upstream: str = LOOPBACK
    inbox: str = LOOPBACK
    aws: str = LOOPBACK


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """All settings of `make run` and `docker compose up`."""

    calls: CallSettings
    hosts: Hosts
    ports: Ports
    uses_stand_in: bool
    upstream_key: str
    clients: Mapping[str, str]
    operators: Mapping[str, str]
    webhook_secret: str | None
    template_values: Mapping[str, str]
    stand_in_values: Mapping[str, str]

    @property
    def schedule_s(self) -> float:
        """How often the processor's schedule starts a run: each minute, or each window if that is shorter."""
        return min(SCHEDULE_S, self.calls.limits.window_ms / 1000)

    @property
    def warm_workers(self) -> int:
        """How many API workers are started in advance; the front lets in as many requests at once."""
        return min(self.calls.limits.calls + 2, WARM_WORKERS_MAX)

    @property
    def aws_url(self) -> str:
        """The emulated AWS's URL."""
        return f"http://{self.hosts.aws}:{self.ports.aws}"

    @property
    def api_url(self) -> str:
        """The API's URL."""
        return f"http://{LOOPBACK}:{self.ports.api}"

    @property
    def inbox_url(self) -> str:
        """The inbox's URL."""
        return f"http://{self.hosts.inbox}:{self.ports.inbox}"

    @property
    def stand_in_environment(self) -> dict[str, str]:
        """The stand-in's variables. Its limit is the service's, unless it is set separately."""
        limits = self.calls.limits
        return {
            "STANDIN_LIMIT": str(limits.calls),
            "STANDIN_WINDOW_S": str(limits.window_ms / 1000),
            **self.stand_in_values,
            "STANDIN_API_KEY": self.upstream_key,
        }

    @classmethod
    def read(cls, values: Mapping[str, str], hosts: Hosts = Hosts()) -> Self:
        """Read everything; raises `SettingError`, which names the variable and what was expected."""
        reader = Reader(values)
        ports = Ports.read(reader)
        url = reader.url("UPSTREAM_URL", f"http://{hosts.upstream}:{ports.upstream}")
        uses_stand_in = _is_stand_in(url, hosts.upstream, ports.upstream)
        upstream_key = _upstream_key(reader, uses_stand_in)
        clients = _keys("CLIENT_API_KEYS", reader) or {"default": upstream_key}
        calls = CallSettings.read(Reader({**values, "UPSTREAM_URL": url}))
        reader.milliseconds_list("WEBHOOK_RETRY_SECONDS", "5", DELIVERY_DELAY_S_MAX)
        read_policy(reader)
        given = {name: reader.text(name) for name in TEMPLATE_SETTINGS if values.get(name, "").strip()}
        return cls(
            calls=calls,
            hosts=hosts,
            ports=ports,
            uses_stand_in=uses_stand_in,
            upstream_key=upstream_key,
            clients=clients,
            operators=_operators(reader, clients),
            webhook_secret=_webhook_secret(reader.text("WEBHOOK_SECRET", "")),
            template_values=given
            | {
                "UPSTREAM_URL": url,
                "WEBHOOK_ALLOW_PRIVATE": str(reader.flag("WEBHOOK_ALLOW_PRIVATE", default=True)).lower(),
                "PUBLIC_URL": f"http://{LOOPBACK}:{ports.api}",
                "TRUST_REQUEST_START": "true",
            },
            stand_in_values={name: value for name, value in values.items() if name.startswith("STANDIN_")},
        )


def misspelled(dotenv: Path, example: Path) -> list[str]:
    """Return warnings about names in `.env` that resemble a setting but that nothing reads."""
    known = (
        set(re.findall(r"^#?([A-Z_]+)=", example.read_text(), re.MULTILINE)) if example.is_file() else set()
    )
    given = dotenv_values(dotenv, interpolate=False) if dotenv.is_file() else {}
    nearest = {name: difflib.get_close_matches(name, known, n=1) for name in given if name not in known}
    return [f"{name} is not known: did you mean {near[0]}?" for name, near in nearest.items() if near]


def environment(dotenv: Path) -> dict[str, str]:
    """Return the environment's variables, and those of the file where the environment has none."""
    from_file = dotenv_values(dotenv, interpolate=False) if dotenv.is_file() else {}
    return {name: value for name, value in from_file.items() if value is not None} | dict(os.environ)


def _is_stand_in(url: str, host: str, port: int) -> bool:
    parts = urlsplit(url)
    names = LOOPBACK_NAMES if host == LOOPBACK else {host}
    return parts.scheme == "http" and parts.hostname in names and parts.port == port


def _upstream_key(reader: Reader, uses_stand_in: bool) -> str:
    key = reader.text("SYNTHESIA_API_KEY", DEFAULT_KEY if uses_stand_in else "")
    if not key:
        raise SettingError("SYNTHESIA_API_KEY is required when UPSTREAM_URL is not the stand-in")
    return secrets.upstream_key("SYNTHESIA_API_KEY", key)


def _keys(setting: str, reader: Reader) -> dict[str, str]:
    """Parse `name:key,…`; an empty value has no keys."""
    text = reader.text(setting, "")
    if not text:
        return {}
    pairs = [part.strip().partition(":") for part in text.split(",")]
    return secrets.holders(setting, [(name, key) for name, _, key in pairs])


def _operators(reader: Reader, clients: Mapping[str, str]) -> dict[str, str]:
    """Return the operators' keys. No caller's key may be one: that caller would see all requests.

    Without a setting it is the default operator's key, but only beside the default caller's key: neither is
    a secret.
    """
    operators = _keys("OPERATOR_API_KEYS", reader)
    secrets.refuse_shared_keys("OPERATOR_API_KEYS", operators, "CLIENT_API_KEYS", clients)
    default = {"operator": DEFAULT_OPERATOR_KEY} if clients == DEFAULT_CLIENTS else {}
    return operators or default


def _webhook_secret(text: str) -> str | None:
    if not text:
        return None
    try:
        parse_secret(text)
    except SettingError as error:
        raise SettingError(f"WEBHOOK_SECRET: {error}") from None
    return text
