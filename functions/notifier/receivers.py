"""Limits the attempts of all notifiers together to each receiver, host and address.

This protects receivers but is no promise: attempts go on while the shared state can't be read or written.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from calling.conditional import TooManyConflicts, amend
from core import circuit, in_flight
from core.circuit import Receiver
from core.errors import Unavailable
from core.in_flight import InFlight, Lease
from core.webhook import PostResult
from ports import Clock, Conflict, Randomness, ReceiverStore, Telemetry, Written

PATIENCE_MS = 3_000
PAUSE_MIN_MS, PAUSE_MAX_MS = 50, 400
SLOW_MS = 2_000  # a place is kept for longer only if its receiver is slow


@dataclass(frozen=True, slots=True)
class Place:
    """A taken place at a host and at an address. `held`: the stored records that have its lease."""

    lease_id: str
    held: tuple[InFlight, ...]


@dataclass(frozen=True, slots=True)
class Busy:
    """No place is free. `oldest_ms`: for how long the oldest one has been taken."""

    oldest_ms: int


class Receivers:
    """The receivers, as all notifiers share them."""

    def __init__(
        self, store: ReceiverStore, clock: Clock, randomness: Randomness, telemetry: Telemetry
    ) -> None:
        self._store = store
        self._clock = clock
        self._randomness = randomness
        self._telemetry = telemetry

    async def read(self, name: str) -> Receiver:
        """Return what is known about a receiver. If its record can't be read, it counts as never tried."""
        try:
            return await self._store.receiver(name)
        except Unavailable as error:
            self._report_unknown(name, error)
            return Receiver(name)

    async def record(self, seen: Receiver, result: PostResult) -> Receiver:
        """Record the result of an attempt, and return what is known about the receiver now."""
        health = circuit.health_of(result)

        def recorded(current: Receiver | None) -> Receiver | None:
            current = current or Receiver(seen.name)
            after = circuit.after_attempt(current, health, self._clock.now_ms())
            return None if after is current else after

        try:
            result_of_write = await amend(seen, recorded, self._write_receiver)
        except Unavailable as error:
            self._report_unknown(seen.name, error)
            return recorded(seen) or seen
        return result_of_write.record or seen

    async def take_place(self, receiver: Receiver, client: str, targets: Sequence[str]) -> Place | Busy:
        """Take a place at each of the targets (a host, an address); `Busy` if one has no free place.

        `receiver`: as it was just read. If places are given back quickly, this waits for one, up to
        `PATIENCE_MS`. It does not wait for slow ones, because this process has webhooks for other receivers.
        """
        waited_ms = 0
        while True:
            found = await self._take_places(receiver, client, targets)
            is_open = receiver.probe_in_ms(self._clock.now_ms()) > 0
            if isinstance(found, Place) or is_open or found.oldest_ms > SLOW_MS or waited_ms >= PATIENCE_MS:
                return found
            pause_ms = min(PAUSE_MAX_MS, max(PAUSE_MIN_MS, waited_ms))
            pause_ms += int(pause_ms * self._randomness.fraction())
            await self._clock.sleep_ms(pause_ms)
            waited_ms += pause_ms
            receiver = await self.read(receiver.name)

    async def vacate(self, place: Place) -> None:
        """Give a place back. If that fails, its lease expires."""

        def given_back(state: InFlight | None) -> InFlight | None:
            return in_flight.vacate(state, place.lease_id) if state else None

        for state in place.held:
            try:
                await amend(state, given_back, self._write_in_flight)
            except Unavailable as error:
                self._report_unknown(state.name, error)

    async def _take_places(self, receiver: Receiver, client: str, targets: Sequence[str]) -> Place | Busy:
        lease_id, held = self._randomness.token(), list[InFlight]()
        for name in targets:
            try:
                state = await self._take(name, Lease(lease_id, client, receiver.name, 0), receiver.places_max)
            except TooManyConflicts:
                state = Busy(0)
            except Unavailable as error:
                self._report_unknown(name, error)
                continue
            if isinstance(state, Busy):
                await self.vacate(Place(lease_id, tuple(held)))
                return state
            held.append(state)
        return Place(lease_id, tuple(held))

    async def _take(self, name: str, lease: Lease, receiver_places_max: int) -> InFlight | Busy:
        def taken(state: InFlight | None) -> InFlight | None:
            started = replace(lease, started_ms=self._clock.now_ms())
            return in_flight.occupy(state or InFlight(name), started, receiver_places_max)

        result = await amend(await self._store.in_flight(name), taken, self._write_in_flight)
        if isinstance(result, Written):
            return result.record
        return Busy(result.record.oldest_ms(self._clock.now_ms()) if result.record else 0)

    async def _write_receiver(
        self, before: Receiver | None, after: Receiver
    ) -> Written[Receiver] | Conflict[Receiver]:
        return await self._store.write_receiver(before or Receiver(after.name), after)

    async def _write_in_flight(
        self, before: InFlight | None, after: InFlight
    ) -> Written[InFlight] | Conflict[InFlight]:
        return await self._store.write_in_flight(before or InFlight(after.name), after)

    def _report_unknown(self, name: str, error: Unavailable) -> None:
        self._telemetry.event("receiver_unknown", {"HostsUnknown": 1}, target=name, reason=str(error))
