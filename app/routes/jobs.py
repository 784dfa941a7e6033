"""Jobs: how far an ingestion is, and the receipts of its documents."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Query
from sse_starlette import EventSourceResponse, ServerSentEvent

from app.node import Node
from app.routes.dependencies import ServingNode
from app.schemas.ingest import JobOut, ReceiptOut
from ingestion.types import Job, JobId

router = APIRouter(prefix="/jobs", tags=["jobs"])

RECEIPTS_A_PAGE = 1000


@router.get("/{job_id}")
async def get_job(
    job_id: str,
    node: ServingNode,
    cursor: Annotated[int, Query(ge=0, description="From `next_cursor`.")] = 0,
    limit: Annotated[int, Query(ge=0, le=RECEIPTS_A_PAGE)] = RECEIPTS_A_PAGE,
) -> JobOut:
    """The job's state and progress, and a page of its receipts in the order of its documents."""
    job = await node.components.catalog.job(JobId(job_id))
    return await describe(node, job, after=cursor, limit=limit)


@router.get(
    "/{job_id}/events",
    response_class=EventSourceResponse,
    responses={200: {"description": "Events `job`, each with the job as JSON, without receipts."}},
)
async def job_events(job_id: str, node: ServingNode) -> EventSourceResponse:
    """The job now, then at each change, as server-sent events; the stream ends with the job."""
    jobs = node.ingestion.watch(JobId(job_id))
    first = await anext(jobs)  # an unknown job is an error of the usual shape, not a broken stream

    async def events() -> AsyncIterator[ServerSentEvent]:
        async with aclosing(jobs):
            yield _event(first)
            async for job in jobs:
                yield _event(job)

    return EventSourceResponse(events())


def _event(job: Job) -> ServerSentEvent:
    return ServerSentEvent(JobOut.of(job, [], None).model_dump_json(), event="job")


async def describe(node: Node, job: Job, *, after: int = 0, limit: int = RECEIPTS_A_PAGE) -> JobOut:
    receipts = await node.components.catalog.receipts(job.id, after=after, limit=limit) if limit else ()
    end = after + len(receipts)
    next_cursor = str(end) if end < job.progress.documents else None
    return JobOut.of(job, [ReceiptOut.of(receipt) for receipt in receipts], next_cursor)
