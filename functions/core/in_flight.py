"""The attempts in flight to one host, or to one address: at most four in all, at most three of one caller.

So one caller can't take the last place from another. All notifiers share this value. It needs no cleaning up:
the lease of a holder that crashed expires.
"""

from dataclasses import dataclass, replace

from core import clocks

PLACES_MAX = 4
CLIENT_PLACES_MAX = 3
LEASE_MS = 20_000
"""Longer than a holder keeps a place, its last attempt included, so that there are never five attempts."""
KEPT_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Lease:
    """One taken place: the caller, the receiver, and since when."""

    id: str
    client: str
    receiver: str
    started_ms: int


@dataclass(frozen=True, slots=True)
class InFlight:
    """The places of a host or address that are taken."""

    name: str
    leases: tuple[Lease, ...] = ()
    expires_ms: int = 0
    revision: str = ""

    def oldest_ms(self, now_ms: int) -> int:
        """How long the oldest place has been taken; 0 if none is."""
        return max((now_ms - lease.started_ms for lease in _live(self, now_ms)), default=0)


def occupy(places: InFlight, lease: Lease, receiver_places_max: int) -> InFlight | None:
    """Return the places with one more taken; None if host, caller or receiver has as many as it may."""
    now_ms = lease.started_ms
    live = _live(places, now_ms)
    of_client = sum(other.client == lease.client for other in live)
    of_receiver = sum(other.receiver == lease.receiver for other in live)
    if len(live) >= PLACES_MAX or of_client >= CLIENT_PLACES_MAX or of_receiver >= receiver_places_max:
        return None
    return replace(places, leases=(*live, lease), expires_ms=now_ms + KEPT_MS)


def vacate(places: InFlight, lease_id: str) -> InFlight | None:
    """Return the places with one free again; None if it was free already."""
    left = tuple(lease for lease in places.leases if lease.id != lease_id)
    return replace(places, leases=left) if len(left) < len(places.leases) else None


def _live(places: InFlight, now_ms: int) -> tuple[Lease, ...]:
    """Return the leases that have not expired."""
    return tuple(
        lease for lease in places.leases if clocks.to_come(lease.started_ms + LEASE_MS, now_ms, LEASE_MS)
    )
