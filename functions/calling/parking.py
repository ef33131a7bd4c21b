"""Takes a job off the schedule that nobody waits for any more."""

from core import job as jobs
from ports import JobStore


async def park_unless_wanted(store: JobStore, job_id: str, now_ms: int) -> None:
    """Leave a job alone that has no open request; after a call that is under way, the processor does so.

    A request that is accepted at the same moment is found on the due index. Raises `Unavailable`.
    """
    job, page = await store.load(job_id)
    while not (wanted := any(request.open for request in page.requests)) and page.next_id:
        page = await store.page(job_id, page.next_id)
    if job and job.scheduled and not wanted and not job.call_live(now_ms):
        await store.write_job(job, jobs.park(job))
