"""A receiver's circuit breaker: how many webhooks may be sent to it at once now, or when to ask again.

A receiver is a caller's URL without its query, so one caller's receiver never affects another caller's.

    never tried            one probe at a time
    last answer good       up to `GOOD_PLACES_MAX` at once
    failed once or more    one probe at a time, among the retries
    `FAILURES_TO_OPEN`     the circuit is open: none for 5 s, then one probe; 10, 20, 40, then 60 s

The state needs no cleaning up: the record of a receiver without attempts expires.
"""

from dataclasses import dataclass, replace
from enum import StrEnum, auto
from http import HTTPStatus

from core import clocks
from core.egress import Target, parse_url
from core.webhook import EGRESS_REASON_PREFIX, PostResult

GOOD_PLACES_MAX = 3
PROBES_MAX = 1
FAILURES_TO_OPEN = 4  # in a row
OPEN_MIN_MS = 5_000
OPEN_MAX_MS = 60_000
KEPT_MS = 3_600_000


class Health(StrEnum):
    """What an attempt says about its receiver."""

    GOOD = auto()
    BAD = auto()
    UNKNOWN = auto()  # nothing was sent to it


@dataclass(frozen=True, slots=True)
class Receiver:
    """What is known about a receiver. `answered`: it has answered well. `failures`: the number in a row."""

    name: str
    answered: bool = False
    failures: int = 0
    open_until_ms: int = 0
    expires_ms: int = 0
    revision: str = ""

    @property
    def failing(self) -> bool:
        """Whether its last attempt failed: then its webhooks wait among the retries."""
        return self.failures > 0

    @property
    def places_max(self) -> int:
        """How many attempts may be in flight to it."""
        return GOOD_PLACES_MAX if self.answered and not self.failing else PROBES_MAX

    def probe_in_ms(self, now_ms: int) -> int:
        """Return how long the circuit is still open; 0 if an attempt may begin now."""
        still_open = clocks.to_come(self.open_until_ms, now_ms, OPEN_MAX_MS)
        return self.open_until_ms - now_ms if still_open else 0


def receiver_name(client: str, url: str) -> str:
    """Return a receiver's name: the caller and the normalized URL without its query."""
    target = parse_url(url)
    if not isinstance(target, Target):
        return f"{client} {url}"
    path = target.path_and_query.partition("?")[0]
    return f"{client} {target.scheme}://{target.host}:{target.port}{path}"


def host_name(url: str) -> str:
    """Return the normalized host and port of a URL."""
    target = parse_url(url)
    return f"{target.host}:{target.port}" if isinstance(target, Target) else url


def after_attempt(receiver: Receiver, health: Health, now_ms: int) -> Receiver:
    """Record an attempt. Failures in a row open the circuit, each for longer; a good answer closes it."""
    if health is Health.UNKNOWN or (health is Health.GOOD and receiver.answered and not receiver.failing):
        return receiver
    kept = replace(receiver, expires_ms=now_ms + KEPT_MS)
    if health is Health.GOOD:
        return replace(kept, answered=True, failures=0, open_until_ms=0)
    failures = receiver.failures + 1
    alone_ms = open_ms(failures)
    return replace(kept, failures=failures, open_until_ms=now_ms + alone_ms if alone_ms else 0)


def health_of(result: PostResult) -> Health:
    """Judge the receiver, not the delivery: a 404 shows that it works; no answer, 429 or 5xx does not."""
    if result.reason.startswith(EGRESS_REASON_PREFIX):
        return Health.UNKNOWN
    if result.status is None or result.status == HTTPStatus.TOO_MANY_REQUESTS:
        return Health.BAD
    return Health.BAD if result.status >= HTTPStatus.INTERNAL_SERVER_ERROR else Health.GOOD


def open_ms(failures: int) -> int:
    """Return for how long the circuit is open after `failures` in a row: doubling, up to `OPEN_MAX_MS`."""
    beyond = failures - FAILURES_TO_OPEN
    return 0 if beyond < 0 else min(OPEN_MAX_MS, OPEN_MIN_MS << min(beyond, 10))
