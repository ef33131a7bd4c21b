"""A receiver's circuit, as a value."""

from functools import reduce

import pytest

from core.circuit import (
    FAILURES_TO_OPEN,
    Health,
    Receiver,
    after_attempt,
    health_of,
    host_name,
    open_ms,
    receiver_name,
)
from core.webhook import PostResult

NEW = Receiver("alice https://receiver.example:443/hook")
GOOD = after_attempt(NEW, Health.GOOD, 0)


def failing(times: int) -> Receiver:
    """A receiver that failed that often in a row, each time at 0."""
    return reduce(lambda receiver, _: after_attempt(receiver, Health.BAD, 0), range(times), GOOD)


def test_only_a_receiver_that_answered_gets_several_at_once() -> None:
    """One that was never tried, or failed last, is probed by one attempt."""
    assert (NEW.places_max, GOOD.places_max, failing(1).places_max) == (1, 3, 1)
    assert after_attempt(failing(1), Health.GOOD, 0).places_max == 3


def test_the_circuit_opens_at_the_fourth_failure_in_a_row() -> None:
    """Three failures close nothing; the fourth does; one success between starts anew."""
    assert failing(FAILURES_TO_OPEN - 1).probe_in_ms(0) == 0
    assert failing(FAILURES_TO_OPEN).probe_in_ms(0) == 5_000
    assert failing(FAILURES_TO_OPEN).probe_in_ms(5_000) == 0
    recovered = after_attempt(failing(FAILURES_TO_OPEN - 1), Health.GOOD, 0)
    assert after_attempt(recovered, Health.BAD, 0).probe_in_ms(0) == 0


def test_a_failed_probe_doubles_the_time() -> None:
    """5 s, 10, 20, 40, then a minute for ever: a dead receiver costs one attempt a minute."""
    assert [open_ms(failures) for failures in (3, 4, 5, 6, 7, 8, 9, 1_000)] == [
        0, 5_000, 10_000, 20_000, 40_000, 60_000, 60_000, 60_000,
    ]  # fmt: skip


def test_what_changes_nothing_is_not_written() -> None:
    """An attempt that was never made, and the next good answer of a good receiver, cost no write."""
    assert after_attempt(failing(3), Health.UNKNOWN, 0) == failing(3)
    assert after_attempt(GOOD, Health.GOOD, 99) is GOOD


@pytest.mark.parametrize(
    ("status", "reason", "health"),
    [
        (204, "http_204", Health.GOOD),
        (302, "http_302", Health.GOOD),
        (404, "http_404", Health.GOOD),
        (410, "http_410", Health.GOOD),
        (429, "http_429", Health.BAD),
        (500, "http_500", Health.BAD),
        (503, "http_503", Health.BAD),
        (None, "timeout", Health.BAD),
        (None, "connect_refused", Health.BAD),
        (None, "tls_failure", Health.BAD),
        (None, "dns_failure", Health.BAD),
        (None, "egress_deny_private", Health.UNKNOWN),
    ],
)
def test_the_host_is_judged_and_not_the_delivery(status: int | None, reason: str, health: Health) -> None:
    """An answer in time is a sign of life, even a refusal; an address that we refuse says nothing."""
    assert health_of(PostResult(status, reason, None, "")) is health


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://Receiver.example/a?b", "receiver.example:443"),
        ("https://receiver.example:443/", "receiver.example:443"),
        ("https://receiver.example:8443/", "receiver.example:8443"),
        ("http://127.0.0.1/hook", "127.0.0.1:80"),
        ("https://[2001:db8::1]/hook", "2001:db8::1:443"),
        ("https://exämple.com/", "xn--exmple-cua.com:443"),
        ("https://XN--exmple-cua.com/", "xn--exmple-cua.com:443"),
    ],
)
def test_a_host_has_one_name(url: str, name: str) -> None:
    """However its URL is spelled; two servers on one machine don't share their places."""
    assert host_name(url) == name


def test_a_receiver_is_a_callers_url() -> None:
    """Another caller's, or another path, has a circuit of its own; the query makes no difference."""
    names = {
        receiver_name(client, url)
        for client, url in [
            ("alice", "https://receiver.example/hook"),
            ("alice", "https://Receiver.example:443/hook?id=1"),
            ("alice", "https://receiver.example/other"),
            ("bob", "https://receiver.example/hook"),
        ]
    }
    assert len(names) == 3
