"""May we call this receiver now? At most four at a time, and one now and then while it is out of order.

The state of a host is a value that all notifiers share. Nothing in it needs to be cleaned up: a lease whose
holder has crashed runs out, and a host that nobody calls is forgotten.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum, auto
from http import HTTPStatus

from core.egress import Target, parse_url
from core.webhook import PostResult

IN_FLIGHT_MAX = 4
LEASE_MS = 20_000  # longer than any attempt takes, so that a fifth never joins four that are alive
FAILURES_TO_OPEN = 4  # in a row
OPEN_MIN_MS = 5_000
OPEN_MAX_MS = 60_000
BUSY_MIN_MS = 1_000
KEPT_MS = 3_600_000
NOT_THE_HOSTS_FAULT = "egress_"


class Health(StrEnum):
    """What an attempt says about the host."""

    GOOD = auto()
    BAD = auto()
    UNKNOWN = auto()  # it was never asked


class Reason(StrEnum):
    """Why an attempt is put off."""

    BUSY = "host_busy"
    OPEN = "host_circuit_open"


@dataclass(frozen=True, slots=True)
class Lease:
    """One attempt in flight."""

    id: str
    started_ms: int


@dataclass(frozen=True, slots=True)
class Host:
    """A receiver: its attempts in flight, its failures in a row, and until when it is left alone."""

    name: str
    leases: tuple[Lease, ...] = ()
    failures: int = 0
    open_until_ms: int = 0
    expires_ms: int = 0
    revision: str = ""

    @property
    def open(self) -> bool:
        """Whether it is taken to be out of order: then one attempt at a time probes it."""
        return self.failures >= FAILURES_TO_OPEN


@dataclass(frozen=True, slots=True)
class Deferral:
    """Not now: when to ask again, and why."""

    until_ms: int
    reason: Reason


def host_name(url: str) -> str:
    """Return what a webhook URL's receiver is known by, however the URL spells it: host and port."""
    target = parse_url(url)
    return f"{target.host}:{target.port}" if isinstance(target, Target) else url


def admit(host: Host, lease_id: str, now_ms: int, fraction: float) -> Host | Deferral:
    """Return the host with one more attempt in flight, or when to ask again; `fraction` in [0, 1) spreads."""
    live = [lease for lease in host.leases if lease.started_ms + LEASE_MS > now_ms]
    if host.open and now_ms < host.open_until_ms:
        return Deferral(host.open_until_ms + int(open_ms(host.failures) * fraction), Reason.OPEN)
    if len(live) >= (1 if host.open else IN_FLIGHT_MAX):
        return Deferral(now_ms + _busy_ms(live, now_ms, fraction), Reason.OPEN if host.open else Reason.BUSY)
    return replace(host, leases=(*live, Lease(lease_id, now_ms)), expires_ms=now_ms + KEPT_MS)


def release(host: Host, lease_id: str, health: Health, now_ms: int) -> Host:
    """End an attempt. A failure too many opens the circuit, for longer each time; anything good closes it."""
    ended = replace(
        host,
        leases=tuple(lease for lease in host.leases if lease.id != lease_id),
        expires_ms=now_ms + KEPT_MS,
    )
    if health is Health.UNKNOWN:
        return ended
    if health is Health.GOOD:
        return replace(ended, failures=0, open_until_ms=0)
    failures = host.failures + 1
    return replace(ended, failures=failures, open_until_ms=now_ms + open_ms(failures))


def health_of(result: PostResult) -> Health:
    """Judge the host, not the delivery: a 404 in time is a sign of life, no answer or a 503 is not."""
    if result.reason.startswith(NOT_THE_HOSTS_FAULT):
        return Health.UNKNOWN
    if result.status is None or result.status == HTTPStatus.TOO_MANY_REQUESTS:
        return Health.BAD
    return Health.BAD if result.status >= HTTPStatus.INTERNAL_SERVER_ERROR else Health.GOOD


def open_ms(failures: int) -> int:
    """Return how long a host is left alone after so many failures in a row: 0 for few, doubling, capped."""
    beyond = failures - FAILURES_TO_OPEN
    return 0 if beyond < 0 else min(OPEN_MAX_MS, OPEN_MIN_MS << min(beyond, 10))


def _busy_ms(live: Iterable[Lease], now_ms: int, fraction: float) -> int:
    """Wait about as long again as the slowest in flight already has: a host that hangs is asked ever less."""
    slowest_ms = max(now_ms - lease.started_ms for lease in live)
    return int(max(BUSY_MIN_MS, slowest_ms) * (1 + fraction))
