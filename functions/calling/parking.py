"""Takes a job off the schedule that nobody waits for any more."""

from core import job as jobs
from core.job import Job
from ports import JobStore, Written


async def park_unless_wanted(store: JobStore, job_id: str, now_ms: int) -> Job | None:
    """Leave a job alone that has no open request, and return it as it was, if it was scheduled.

    After a call that is under way, the processor does so.

    A request that is accepted at the same moment is found on the due index. Raises `Unavailable`.
    """
    job, page = await store.load(job_id)
    while not (wanted := any(request.open for request in page.requests)) and page.next_id:
        page = await store.page(job_id, page.next_id)
    return await park(store, job, now_ms) if job and not wanted else None


async def park(store: JobStore, job: Job, now_ms: int) -> Job | None:
    """Take a job off the schedule, and return it as it was; None if it stays. Raises `Unavailable`."""
    if not job.scheduled or job.call_live(now_ms):
        return None
    return job if isinstance(await store.write_job(job, jobs.park(job)), Written) else None
