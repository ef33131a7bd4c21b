"""Takes a job without open requests off the schedule."""

from calling.conditional import amend_job
from core import job as jobs
from core.job import Job, Waiter
from core.request import Request
from ports import Jobs, Page, Written


async def park_unless_wanted(store: Jobs, job_id: str, now_ms: int) -> Job | None:
    """Park a job if it is scheduled and has no open request. Return the job as it was; None if it stays.

    A job with a call under way is parked by the processor after that call. Raises `Unavailable`.
    """
    job, page = await store.load(job_id)
    return await park(store, job, now_ms) if job and not await _first_open(store, job_id, page) else None


# A request is accepted while its job is parked. The second of the two reads sees what the other side wrote.
#
#   API        put the request ───────── read the job: scheduled? else schedule it
#   here                 write: parked ───────── query: an open request? then schedule the job again
async def park(store: Jobs, job: Job, now_ms: int) -> Job | None:
    """Take a job off the schedule, and return it as it was; None if it stays. Raises `Unavailable`."""
    if not job.scheduled or job.call_live(now_ms):
        return None
    result = await store.write_job(job, jobs.park(job))
    if not isinstance(result, Written):
        return None
    request = await _first_open(store, job.id, await store.page(job.id, job.open_from))
    if request is None:
        return job
    waiter = Waiter(request.id, job.client)
    await amend_job(store, result.record, lambda seen: jobs.schedule(seen, job.message, now_ms, waiter))
    return None


async def _first_open(store: Jobs, job_id: str, page: Page) -> Request | None:
    while True:
        for request in page.requests:
            if request.open:
                return request
        if page.next_id is None:
            return None
        page = await store.page(job_id, page.next_id)
