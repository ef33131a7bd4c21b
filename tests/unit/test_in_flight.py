"""The places of a host, as a value."""

from functools import reduce

from core.in_flight import CLIENT_PLACES_MAX, LEASE_MS, PLACES_MAX, InFlight, Lease, occupy, vacate

EMPTY = InFlight("receiver.example:443")


def lease(number: int, client: str, receiver: str = "", now_ms: int = 0) -> Lease:
    return Lease(str(number), client, receiver or f"{client} {number}", now_ms)


def taken(places: InFlight, new: Lease) -> InFlight:
    after = occupy(places, new, 1)
    assert after
    return after


def with_clients(*clients: str) -> InFlight:
    return reduce(lambda places, pair: taken(places, lease(pair[0], pair[1])), enumerate(clients), EMPTY)


def test_four_are_in_flight_at_most() -> None:
    """The fifth waits; as soon as one has ended there is room for one."""
    full = with_clients("alice", "alice", "bob", "bob")
    assert len(full.leases) == PLACES_MAX
    assert occupy(full, lease(9, "carol"), 1) is None
    left = vacate(full, "2")
    assert left
    assert occupy(left, lease(9, "carol"), 1)


def test_no_caller_takes_the_last_place() -> None:
    """However many receivers of its own it has at a host, another caller finds a place."""
    alice = with_clients(*["alice"] * CLIENT_PLACES_MAX)
    assert occupy(alice, lease(9, "alice"), 1) is None
    assert occupy(alice, lease(9, "bob"), 1)


def test_a_receiver_has_its_own_limit() -> None:
    """One that must be probed gets one attempt at a time, though its host has places."""
    probed = taken(EMPTY, lease(1, "alice", "alice /hook"))
    assert occupy(probed, lease(2, "alice", "alice /hook"), 1) is None
    assert occupy(probed, lease(2, "alice", "alice /hook"), 2)
    assert occupy(probed, lease(2, "alice", "alice /other"), 1)


def test_a_lease_expires_by_itself() -> None:
    """A notifier that crashed holds its places for a lease, and not a millisecond longer."""
    full = with_clients("alice", "alice", "bob", "bob")
    assert occupy(full, lease(9, "carol", now_ms=LEASE_MS - 1), 1) is None
    after = occupy(full, lease(9, "carol", now_ms=LEASE_MS), 1)
    assert after
    assert [held.id for held in after.leases] == ["9"]


def test_a_place_is_given_back_once() -> None:
    """Nothing is written for one that is free already."""
    assert vacate(EMPTY, "1") is None


def test_the_oldest_place_says_how_slow_a_host_is() -> None:
    """Places that will be given back at once are worth a short wait; old ones are not."""
    places = taken(taken(EMPTY, lease(1, "alice")), lease(2, "alice", now_ms=400))
    assert (EMPTY.oldest_ms(0), places.oldest_ms(1_000)) == (0, 1_000)
