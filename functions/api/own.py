"""A caller's own requests: lists them, newest first, and cancels one."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from calling.outcomes import Outcomes
from calling.parking import park_unless_wanted
from core.messages import REQUEST_ID
from core.request import Request, cancelled
from ports import Clock, JobStore, OwnKey
from web.access import Viewer, visible
from web.deadline import Deadline
from web.problems import ALREADY_ENDED, InvalidParameter, RequestProblem

CURSOR = re.compile(rf"([0-9]{{1,15}})\.({REQUEST_ID.pattern})")


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of requests, only those in the wanted state. `next_cursor`: empty at the end."""

    requests: Sequence[Request]
    next_cursor: str


class Own:
    """Lists and cancels requests."""

    def __init__(self, store: JobStore, outcomes: Outcomes, clock: Clock) -> None:
        self._store = store
        self._outcomes = outcomes
        self._clock = clock

    async def page(
        self, client: str, states: frozenset[str], limit: int, cursor: str, deadline: Deadline
    ) -> Listing:
        """Return requests of a caller, of any state if none is given.

        Reads `limit` requests, however many the caller has. Raises `InvalidParameter` and `Unavailable`.
        """
        async with deadline.limit():
            keys = await self._store.own(client, limit, parse_cursor(cursor) if cursor else None)
            found = await asyncio.gather(*(self._store.request(key.request_id) for key in keys))
        requests = [
            request for request in found if request and (not states or request.public_state in states)
        ]
        return Listing(requests, _cursor(keys[-1]) if len(keys) == limit else "")

    async def cancel(self, request_id: str, viewer: Viewer, deadline: Deadline, *, notify: bool) -> Request:
        """Cancel an open request, and return it; one that was cancelled before is returned unchanged.

        A call under way ends, and its signature is kept for others. Raises `Unavailable`, and
        `RequestProblem`: it is not found, or has another outcome.
        """
        async with deadline.limit():
            request = await visible(self._store, request_id, viewer)
            if request.open:
                job = await self._store.job(request.job_id)
                now_ms = self._clock.now_ms()
                after = cancelled(request, now_ms, calls=request.calls_of(job), notify=notify)
                await self._outcomes.close([(request, after)])
                request = await visible(self._store, request_id, viewer)
            if not request.cancelled:
                raise RequestProblem(ALREADY_ENDED)
            # Also for a request that was cancelled before: that may have been cut short.
            if parked := await park_unless_wanted(self._store, request.job_id, self._clock.now_ms()):
                await self._outcomes.leave_queue(parked)
            await self._outcomes.write_counts()
        return request


def _cursor(key: OwnKey) -> str:
    return f"{key.created_ms}.{key.request_id}"


def parse_cursor(cursor: str) -> OwnKey:
    """Return the row that a page begins after; raises `InvalidParameter`."""
    found = CURSOR.fullmatch(cursor.lower())
    if found is None:
        raise InvalidParameter("cursor", "must be the next_cursor of an earlier page")
    return OwnKey(found[2], int(found[1]))
