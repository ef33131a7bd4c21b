"""Finds out whether the upstream refuses the service's key."""

from calling.slots import Slots
from core import key_guard
from core.window import Kind, NotBefore
from ports import Ports


class KeyCheck:
    """Probes the upstream's root path, through the window, while the key is suspected."""

    def __init__(
        self,
        ports: Ports,
        slots: Slots,
        *,
        call_limit_ms: int,
    ) -> None:
        self._slots = slots
        self._upstream = ports.upstream
        self._clock = ports.clock
        self._telemetry = ports.telemetry
        self._call_limit_ms = call_limit_ms
        self._claim_ms = slots.timing.send_limit_ms + call_limit_ms + slots.timing.margin_ms

    async def run(self) -> None:
        """Send a probe if it is due. Settling its slot also writes what the answer says about the key."""
        gate, now_ms = self._slots.gate, self._clock.now_ms()
        claim = key_guard.claim_probe(gate.key, gate.window, now_ms, self._claim_ms) if gate else None
        if claim is None or not await self._slots.try_once(claim):
            return
        lease = await self._slots.take(Kind.PROBE, self._call_limit_ms)
        if isinstance(lease, NotBefore):
            return
        answer = await self._upstream.probe(
            call_limit_ms=self._call_limit_ms, may_send=self._slots.may_send(lease)
        )
        await self._slots.settle(lease, answer)
        good, now_ms = answer.meaning in key_guard.SHOWS_GOOD_KEY, self._clock.now_ms()
        self._telemetry.event(
            "key_probed",
            {"SlotsTaken": 1, "UpstreamCalls": 1, "KeyRefused": int(not good)},
            meaning=answer.meaning,
            status=answer.status,
        )
        if not good:
            await self._slots.amend(lambda seen: key_guard.probe_again(seen.key, seen.window, now_ms))
