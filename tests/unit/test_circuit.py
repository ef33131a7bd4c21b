"""A receiver's limit and its circuit, as values."""

from functools import reduce

import pytest

from core.circuit import (
    FAILURES_TO_OPEN,
    LEASE_MS,
    Deferral,
    Health,
    Host,
    Reason,
    admit,
    health_of,
    host_name,
    open_ms,
    release,
)
from core.webhook import PostResult

NEW = Host("receiver.example:443")


def admitted(host: Host, lease_id: str, now_ms: int) -> Host:
    decision = admit(host, lease_id, now_ms, 0.0)
    assert isinstance(decision, Host)
    return decision


def busy(now_ms: int = 0) -> Host:
    return reduce(lambda host, number: admitted(host, str(number), now_ms), range(4), NEW)


def failing(times: int) -> Host:
    """A host that failed that often in a row, each time at 0."""
    return reduce(lambda host, _: release(host, "", Health.BAD, 0), range(times), NEW)


def test_four_are_in_flight_at_most() -> None:
    """The fifth waits; as soon as one has ended there is room for one."""
    assert admit(busy(), "fifth", 0, 0.0) == Deferral(1_000, Reason.BUSY)
    assert len(admitted(release(busy(), "2", Health.GOOD, 50), "fifth", 50).leases) == 4


def test_a_lease_expires_by_itself() -> None:
    """A notifier that crashed holds its places for a lease, and not a millisecond longer."""
    assert isinstance(admit(busy(), "fifth", LEASE_MS - 1, 0.0), Deferral)
    assert [lease.id for lease in admitted(busy(), "fifth", LEASE_MS).leases] == ["fifth"]


@pytest.mark.parametrize(
    ("now_ms", "fraction", "until_ms"),
    [(0, 0.0, 1_000), (0, 0.5, 1_500), (4_000, 0, 8_000), (10_000, 0.5, 25_000)],
)
def test_the_wait_for_a_place_grows_with_the_wait_so_far(now_ms: int, fraction: float, until_ms: int) -> None:
    """A second while all is quick; about as long again while the slowest in flight hangs."""
    assert admit(busy(), "fifth", now_ms, fraction) == Deferral(until_ms, Reason.BUSY)


def test_the_circuit_opens_at_the_fourth_failure_in_a_row() -> None:
    """Three failures change nothing; the fourth shuts everybody out; one success between starts anew."""
    assert isinstance(admit(failing(FAILURES_TO_OPEN - 1), "next", 0, 0.0), Host)
    assert admit(failing(FAILURES_TO_OPEN), "next", 0, 0.0) == Deferral(5_000, Reason.OPEN)
    recovered = release(failing(FAILURES_TO_OPEN - 1), "", Health.GOOD, 0)
    assert isinstance(admit(release(recovered, "", Health.BAD, 0), "next", 0, 0.0), Host)


def test_one_probe_at_a_time() -> None:
    """When the time is up exactly one may try; its success lets four in again."""
    opened = failing(FAILURES_TO_OPEN)
    assert isinstance(admit(opened, "early", 4_999, 0.0), Deferral)
    probing = admitted(opened, "probe", 5_000)
    assert admit(probing, "second", 5_000, 0.0) == Deferral(6_000, Reason.OPEN)
    closed = release(probing, "probe", Health.GOOD, 6_000)
    assert (closed.open, closed.leases) == (False, ())


def test_a_failed_probe_doubles_the_time() -> None:
    """5 s, 10, 20, 40, then a minute for ever: a dead host costs one attempt a minute."""
    assert [open_ms(failures) for failures in (3, 4, 5, 6, 7, 8, 9, 1_000)] == [
        0, 5_000, 10_000, 20_000, 40_000, 60_000, 60_000, 60_000,
    ]  # fmt: skip


def test_a_lost_probe_does_not_shut_a_host_out() -> None:
    """If the probe's notifier crashes, another probes after a lease."""
    probing = admitted(failing(FAILURES_TO_OPEN), "probe", 5_000)
    assert isinstance(admit(probing, "second", 5_000 + LEASE_MS, 0.0), Host)


def test_an_attempt_that_was_never_made_proves_nothing() -> None:
    """It gives its place back and leaves the count of failures as it was."""
    host = admitted(failing(3), "a", 0)
    ended = release(host, "a", Health.UNKNOWN, 0)
    assert (ended.failures, ended.leases) == (3, ())


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
def test_a_receiver_is_a_host_and_a_port(url: str, name: str) -> None:
    """However its URL is spelled; two servers on one machine don't share a fate."""
    assert host_name(url) == name
