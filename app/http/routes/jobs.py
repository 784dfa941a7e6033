"""Jobs: the progress of ingestion and the receipts of its documents."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from sse_starlette import EventSourceResponse, ServerSentEvent

from app.access.view import NodeView
from app.http.examples import ingest as examples
from app.http.job_events import stream_job
from app.http.routes.dependencies import EventStreams, ServingNode
from app.http.routes.documented import CATALOG, answer, failures
from app.http.schemas.ingest import JobEventOut, JobOut
from app.http.schemas.wire import Text
from ingestion.types import Job, JobId

router = APIRouter(prefix="/jobs", tags=["jobs"])

SSE = "text/event-stream"
RECEIPTS_A_PAGE = 1000

JobPath = Annotated[
    Text,
    Path(
        description="Id of the job, as answered by POST /ingest.",
        max_length=64,
        examples=["d5cdb830ed9846889e048cd41ca2742f"],
    ),
]
EVENT = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"const": "job"},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/JobEventOut"},
        },
    },
}
FAILURES = failures("job_not_found", "invalid_text", *CATALOG)


@router.get(
    "/{job_id}",
    summary="Get a job",
    responses={200: answer(examples.JOBS, "The current state of the job."), **FAILURES},
)
async def get_job(
    job_id: JobPath,
    node: ServingNode,
    cursor: Annotated[int, Query(ge=0, le=2**31 - 1, description="`next_cursor` of the previous page.")] = 0,
    limit: Annotated[int, Query(ge=0, le=RECEIPTS_A_PAGE, description="Maximum number of receipts.")] = RECEIPTS_A_PAGE,
) -> JobOut:
    """The state and progress of a job, and a page of its receipts in the order of its documents."""
    job = await node.jobs.get(JobId(job_id))
    return await describe(node, job, after=cursor, limit=limit)


@router.post(
    "/{job_id}/cancel",
    summary="Cancel a job",
    responses={200: answer(examples.JOBS, "The state of the job after cancelling."), **FAILURES},
)
async def cancel_job(job_id: JobPath, node: ServingNode) -> JobOut:
    """Cancels the documents that are not finished. Documents in process stop within seconds. Versions that were
    searchable before stay so."""
    return await describe(node, await node.jobs.cancel(JobId(job_id)))


@router.get(
    "/{job_id}/events",
    summary="Watch a job",
    response_class=EventSourceResponse,
    responses={
        200: answer(examples.EVENTS, "Events `job`, each with the job as JSON.", media_type=SSE, item=EVENT),
        **failures("job_not_found", "invalid_text", "overloaded", *CATALOG),
    },
)
async def watch_job(job_id: JobPath, node: ServingNode, streams: EventStreams) -> EventSourceResponse:
    """Streams the job now and at each change, as server-sent events. The stream ends with the job, or when the node
    stops."""
    return await stream_job(node, JobId(job_id), streams, _event)


def _event(job: Job) -> ServerSentEvent:
    return ServerSentEvent(JobEventOut.model_validate(job).model_dump_json(), event="job")


async def describe(node: NodeView, job: Job, *, after: int = 0, limit: int = RECEIPTS_A_PAGE) -> JobOut:
    receipts = await node.jobs.receipts(job.id, after=after, limit=limit) if limit else ()
    end = after + len(receipts)
    return JobOut.of(job, receipts, str(end) if end < job.progress.documents else None)
