"""Pages of jobs: the latest ones, one with its receipts and live progress, and its actions."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import anyio
from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import RedirectResponse
from sse_starlette import EventSourceResponse, ServerSentEvent

from app.http.routes.dependencies import EventStreams
from app.http.routes.jobs import PING_SECONDS, SEND_SECONDS
from app.http.schemas.wire import Text
from app.http.server.streams import BoundedStream
from app.ui.documents import again
from app.ui.rendering import PageNode, PageRoute, checked_form, render
from ingestion.service import WATCH_SECONDS
from ingestion.types import Job, JobId
from retrieval.errors import InvalidRequest

router = APIRouter(prefix="/ui/jobs", include_in_schema=False, route_class=PageRoute)

LATEST = 50
RECEIPTS_SHOWN = 500

JobPath = Annotated[Text, Path(max_length=64)]


@router.get("")
async def jobs_page(request: Request, node: PageNode) -> Response:
    return render(request, "jobs.html", jobs=await node.components.catalog.latest_jobs(limit=LATEST))


@router.get("/{job_id}")
async def job_page(request: Request, job_id: JobPath, node: PageNode) -> Response:
    job = await node.components.catalog.job(JobId(job_id))
    receipts = await node.components.catalog.receipts(job.id, limit=RECEIPTS_SHOWN)
    # The worst first: who opens the page wants to know what to do.
    ordered = sorted(receipts, key=lambda receipt: receipt.status != "failed")
    return render(request, "job.html", job=job, receipts=ordered, shown=RECEIPTS_SHOWN)


@router.get("/{job_id}/events")
async def job_events(request: Request, job_id: JobPath, node: PageNode, streams: EventStreams) -> EventSourceResponse:
    """Events `progress`, each the fragment of the page that shows how far the job is; `ended` after the last one."""
    stopping = anyio.Event()
    jobs = node.ingestion.watch(JobId(job_id), leaving=stopping.is_set)
    first = await anext(jobs)

    def fragment(job: Job) -> ServerSentEvent:
        text = bytes(render(request, "job_progress.html", job=job).body).decode()
        return ServerSentEvent(text, event="ended" if job.ended else "progress")

    async def events() -> AsyncGenerator[ServerSentEvent, None]:
        async with aclosing(jobs):
            yield fragment(first)
            async for job in jobs:
                yield fragment(job)

    return BoundedStream(
        events(),
        streams,
        ping=PING_SECONDS,
        send_timeout=SEND_SECONDS,
        shutdown_event=stopping,
        shutdown_grace_period=WATCH_SECONDS + 1,
    )


@router.post("/{job_id}/cancel")
async def cancel(request: Request, job_id: JobPath, node: PageNode) -> Response:
    await checked_form(request)
    await node.ingestion.cancel(JobId(job_id))
    return RedirectResponse(f"{request.scope.get('root_path', '')}/ui/jobs/{job_id}", 303)


@router.post("/{job_id}/retry")
async def retry(request: Request, job_id: JobPath, node: PageNode) -> Response:
    """Ingests the failed documents of a job once more."""
    await checked_form(request)
    job = await node.components.catalog.job(JobId(job_id))
    receipts = await node.components.catalog.receipts(job.id, limit=job.progress.documents)
    failed = [receipt.document_id for receipt in receipts if receipt.status == "failed"]
    there = await node.components.catalog.documents_named(job.collection, failed)
    if not there:
        raise InvalidRequest("No document of this job can be tried again: none failed, or they were deleted.")
    new = await again(node, job.collection, list(there))
    return RedirectResponse(f"{request.scope.get('root_path', '')}/ui/jobs/{new}", 303)
