"""Pages of jobs: the latest ones, one with its receipts and live progress, and its actions."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from app.http.job_events import stream_job
from app.http.routes.dependencies import EventStreams
from app.http.schemas.wire import Text
from app.ui.rendering import PageNode, PageRoute, checked_form, redirect, render
from ingestion.types import Job, JobId
from retrieval.errors import InvalidRequest

router = APIRouter(prefix="/ui/jobs", include_in_schema=False, route_class=PageRoute)

LATEST = 50
RECEIPTS_SHOWN = 500

JobPath = Annotated[Text, Path(max_length=64)]


@router.get("")
async def jobs_page(request: Request, node: PageNode) -> Response:
    jobs = await node.jobs.latest(limit=LATEST)
    return render(request, "jobs.html", jobs=jobs, unfinished=any(not job.ended for job in jobs))


@router.get("/{job_id}")
async def job_page(request: Request, job_id: JobPath, node: PageNode) -> Response:
    job = await node.jobs.get(JobId(job_id))
    receipts = await node.jobs.receipts(job.id, limit=RECEIPTS_SHOWN)
    # Failures first: they need an action.
    ordered = sorted(receipts, key=lambda receipt: receipt.status != "failed")
    return render(request, "job.html", job=job, receipts=ordered, shown=RECEIPTS_SHOWN)


@router.get("/{job_id}/events")
async def job_events(request: Request, job_id: JobPath, node: PageNode, streams: EventStreams) -> EventSourceResponse:
    """Streams events `progress`, each a fragment of the page with the job's progress; the last one is `ended`."""

    def fragment(job: Job) -> ServerSentEvent:
        text = bytes(render(request, "job_progress.html", job=job).body).decode()
        return ServerSentEvent(text, event="ended" if job.ended else "progress")

    return await stream_job(node, JobId(job_id), streams, fragment)


@router.post("/{job_id}/cancel")
async def cancel(request: Request, job_id: JobPath, node: PageNode) -> Response:
    await checked_form(request)
    await node.jobs.cancel(JobId(job_id))
    return redirect(request, f"/ui/jobs/{job_id}")


@router.post("/{job_id}/retry")
async def retry(request: Request, job_id: JobPath, node: PageNode) -> Response:
    """Ingests the failed documents of a job again."""
    await checked_form(request)
    job, failed = await node.jobs.failed(JobId(job_id))
    if not failed:
        raise InvalidRequest("No document of this job can be tried again: none failed, or they were deleted.")
    new = await node.documents.ingest_again(job.collection, failed)
    return redirect(request, f"/ui/jobs/{new}")
