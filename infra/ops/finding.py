"""Finds requests by id, caller, time of acceptance and state."""

import asyncio
from dataclasses import dataclass
from enum import StrEnum

from core.job import Job
from core.request import Request
from infra.ops.ports import Ports
from ports import JobStore


class State(StrEnum):
    """The states to find requests by: of the request, of its outcome, or of its webhook."""

    OPEN = "open"
    WAITING = "waiting"
    RETRYING = "retrying"
    SIGNED = "signed"
    FAILED = "failed"
    PENDING = "pending"
    DELIVERED = "delivered"
    GONE = "gone"
    UNDELIVERABLE = "undeliverable"


POSITIONS = frozenset({State.WAITING, State.RETRYING})
ENDED_UNHEARD = frozenset({State.GONE, State.UNDELIVERABLE})


@dataclass(frozen=True, slots=True)
class Filter:
    """Selects requests by id, caller and time of acceptance. An empty filter selects all."""

    ids: frozenset[str] = frozenset()
    client: str = ""
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def empty(self) -> bool:
        """Whether it selects all requests."""
        return self == Filter()

    def fits(self, request: Request) -> bool:
        """Whether it selects the request."""
        return (
            (not self.ids or request.id in self.ids)
            and (not self.client or request.client == self.client)
            and (self.since_ms is None or request.created_ms >= self.since_ms)
            and (self.until_ms is None or request.created_ms < self.until_ms)
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """A request, and its job while the request is open."""

    request: Request
    job: Job | None

    @property
    def attempts(self) -> int:
        """Return the number of calls since the request was accepted, as far as it is known."""
        return max(0, self.job.attempts - self.request.attempts_before) if self.job else 0

    @property
    def state(self) -> str:
        """Return its state: waiting, retrying, or its outcome."""
        if not self.request.open:
            return self.request.state
        return State.RETRYING if self.attempts else State.WAITING


async def find(ports: Ports, wanted: Filter, states: frozenset[State] = frozenset()) -> list[Standing]:
    """Return the matching requests, oldest first. Ids are looked up; other filters read the whole table."""
    if wanted.ids:
        found = await asyncio.gather(*(ports.store.request(request_id) for request_id in sorted(wanted.ids)))
        requests = [request for request in found if request and wanted.fits(request)]
    else:
        requests = [request async for request in ports.scan.requests() if wanted.fits(request)]
    if states:
        requests = [request for request in requests if _may_be_in(request, states)]
    standings = await asyncio.gather(*(_standing(ports.store, request) for request in requests))
    fitting = [row for row in standings if not states or states & {*_request_states(row.request), row.state}]
    return sorted(fitting, key=lambda row: row.request.created_ms)


def _may_be_in(request: Request, states: frozenset[State]) -> bool:
    """Match without the job, which alone knows whether an open request waits or is retried."""
    return bool(states & _request_states(request)) or (request.open and bool(states & POSITIONS))


def _request_states(request: Request) -> set[str]:
    return {request.state, request.delivery.state}


async def _standing(store: JobStore, request: Request) -> Standing:
    return Standing(request, await store.job(request.job_id) if request.open else None)
