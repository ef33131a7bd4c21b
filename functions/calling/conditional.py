"""Optimistic locking: read, decide, write if nothing changed meanwhile, else decide again.

Every record of this service is changed by this one loop. A write lands only if the stored record has not
changed since it was read. A refused write returns the stored record, and the decision is made again on that.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from core.errors import Unavailable
from core.gate import Gate
from core.job import Job
from core.request import Request
from ports import Conflict, Jobs, Requests, Written

TRIES_MAX = 8

Record = TypeVar("Record")
Wanted = TypeVar("Wanted")


class TooManyConflicts(Unavailable):
    """Others changed the record at each of `TRIES_MAX` tries; nothing was written."""


@dataclass(frozen=True, slots=True)
class Unchanged(Generic[Record]):
    """The decision was to write nothing; `record` is the record as last read."""

    record: Record | None


async def amend(
    seen: Record | None,
    decide: Callable[[Record | None], Wanted | None],
    write: Callable[[Record | None, Wanted], Awaitable[Written[Record] | Conflict[Record]]],
    *,
    read: Callable[[], Awaitable[Record | None]] | None = None,
) -> Written[Record] | Unchanged[Record]:
    """Write what `decide` returns (None: nothing), and decide again on what is stored after a conflict.

    `seen`: the record as last read; it may be stale. `read`: if given, it is called after a write that may or
    may not have happened, and the decision is made again. Raises `TooManyConflicts`, and `Unavailable`.
    """
    for _ in range(TRIES_MAX):
        wanted = decide(seen)
        if wanted is None:
            return Unchanged(seen)
        try:
            result = await write(seen, wanted)
        except Unavailable:
            if read is None:
                raise
            seen = await read()
            continue
        if isinstance(result, Written):
            return result
        seen = result.record
    raise TooManyConflicts("the record kept changing")


async def amend_job(store: Jobs, seen: Job | None, decide: Callable[[Job | None], Job]) -> Job:
    """Change a job and return it as stored; `decide` returns the same job if it wants no change.

    Raises `TooManyConflicts`, and `Unavailable`.
    """
    job = seen

    def changed(current: Job | None) -> Job | None:
        nonlocal job
        job = decide(current)
        return None if job is current else job

    result = await amend(seen, changed, store.write_job)
    return result.record or decide(None)


async def amend_gate(
    seen: Gate,
    decide: Callable[[Gate], Wanted | None],
    write: Callable[[Wanted], Awaitable[Written[Gate] | Conflict[Gate]]],
) -> Written[Gate] | Unchanged[Gate]:
    """Change the gate. Raises `TooManyConflicts`, and `Unavailable`."""

    def decided(current: Gate | None) -> Wanted | None:
        return decide(current) if current else None

    async def write_wanted(_: Gate | None, wanted: Wanted) -> Written[Gate] | Conflict[Gate]:
        return await write(wanted)

    return await amend(seen, decided, write_wanted)


async def amend_request(
    store: Requests, seen: Request, decide: Callable[[Request], Request | None]
) -> Request | None:
    """Change a request and return it as written; None if `decide` wants no change, or it was deleted.

    Raises `TooManyConflicts`, and `Unavailable`.
    """

    async def write(before: Request | None, after: Request) -> Written[Request] | Conflict[Request]:
        return await store.write_request(before, after) if before else Conflict(None)

    result = await amend(seen, lambda current: decide(current) if current else None, write)
    return result.record if isinstance(result, Written) else None
