"""Keeps all notifiers together within each receiver's limit: ask before an attempt, tell how it went after.

It is a protection and no promise: while its state can't be read or written, attempts are made without it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from calling.conditional import amend
from core import circuit
from core.circuit import Deferral, Health, Host
from core.errors import Unavailable
from core.webhook import PostResult
from ports import Clock, Conflict, HostStore, Randomness, Telemetry, Written


@dataclass(frozen=True, slots=True)
class Visit:
    """An attempt that may be made now. `held`: whether the host's state knows of it."""

    lease_id: str
    host: Host
    held: bool


class Hosts:
    """The receivers, as all notifiers share them."""

    def __init__(self, store: HostStore, clock: Clock, randomness: Randomness, telemetry: Telemetry) -> None:
        self._store = store
        self._clock = clock
        self._randomness = randomness
        self._telemetry = telemetry

    async def enter(self, url: str) -> Visit | Deferral:
        """Ask for an attempt at a webhook's receiver."""
        host, lease_id = Host(circuit.host_name(url)), self._randomness.token()
        try:
            decision = await self._change(await self._store.host(host.name), self._admission(lease_id))
        except Unavailable as error:
            self._report_unknown(host, error)
            return Visit(lease_id, host, held=False)
        return decision if isinstance(decision, Deferral) else Visit(lease_id, decision, held=True)

    async def leave(self, visit: Visit, result: PostResult | None) -> None:
        """Say how an attempt went; None: it was never made. If that fails, the lease runs out by itself."""
        if not visit.held:
            return
        health = Health.UNKNOWN if result is None else circuit.health_of(result)
        try:
            await self._change(
                visit.host,
                lambda host: circuit.release(host, visit.lease_id, health, self._clock.now_ms()),
            )
        except Unavailable as error:
            self._report_unknown(visit.host, error)

    def _admission(self, lease_id: str) -> Callable[[Host], Host | Deferral]:
        fraction = self._randomness.fraction()
        return lambda host: circuit.admit(host, lease_id, self._clock.now_ms(), fraction)

    async def _change(self, host: Host, decide: Callable[[Host], Host | Deferral]) -> Host | Deferral:
        """Write what is decided, again on what is stored if somebody was faster; a deferral never."""
        decision: Host | Deferral = host

        def write_decided(seen: Host | None) -> Host | None:
            nonlocal decision
            decision = decide(seen or Host(host.name))
            return None if isinstance(decision, Deferral) else decision

        async def write(seen: Host | None, after: Host) -> Written[Host] | Conflict[Host]:
            return await self._store.write_host(seen or Host(host.name), after)

        result = await amend(host, write_decided, write)
        return result.record if isinstance(result, Written) else decision

    def _report_unknown(self, host: Host, error: Unavailable) -> None:
        self._telemetry.event("host_unknown", {"HostsUnknown": 1}, host=host.name, reason=str(error))
