"""Takes a job without open requests off the schedule."""

from core import job as jobs
from core.job import Job
from ports import Jobs, Written


async def park_unless_wanted(store: Jobs, job_id: str, now_ms: int) -> Job | None:
    """Park a job if it is scheduled and has no open request. Return the job as it was; None if it stays.

    A job with a call under way is parked by the processor after that call. If a request is accepted at the
    same moment, the sweep finds it and schedules the job again. Raises `Unavailable`.
    """
    job, page = await store.load(job_id)
    while not (has_open := any(request.open for request in page.requests)) and page.next_id:
        page = await store.page(job_id, page.next_id)
    return await park(store, job, now_ms) if job and not has_open else None


async def park(store: Jobs, job: Job, now_ms: int) -> Job | None:
    """Take a job off the schedule, and return it as it was; None if it stays. Raises `Unavailable`."""
    if not job.scheduled or job.call_live(now_ms):
        return None
    return job if isinstance(await store.write_job(job, jobs.park(job)), Written) else None
