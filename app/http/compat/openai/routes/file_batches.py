"""Batches of files for OpenAI's vector stores: jobs."""

from typing import Annotated

from fastapi import APIRouter, Body, Path, Response

from app.access.view import NodeView
from app.http.compat.openai.examples import files as examples
from app.http.compat.openai.routes.files import After
from app.http.compat.openai.routes.vector_store_files import (
    NOT_ACCEPTED,
    PAGE,
    POLL,
    Limit,
    NoBefore,
    Order,
    StatusFilter,
    accepted,
)
from app.http.compat.openai.routes.vector_stores import StorePath, store_named
from app.http.compat.openai.schemas.files import (
    BATCH_PREFIX,
    STORE_PREFIX,
    BatchIn,
    FileBatchOut,
    FileCounts,
    Status,
    StoreFileOut,
    StoreFilesOut,
    chunking_of,
    unix_seconds,
)
from app.http.routes.dependencies import ServingNode
from app.http.routes.documented import CATALOG, answer, failures, named
from app.http.schemas.wire import Text
from ingestion.errors import JobNotFound
from ingestion.types import Collection, Job, JobId, Receipt

router = APIRouter(prefix="/v1/vector_stores/{vector_store_id}", tags=["openai"])

STATUSES: dict[str, Status] = {
    "queued": "in_progress",
    "running": "in_progress",
    "succeeded": "completed",
    "partial": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
}

BatchPath = Annotated[
    Text,
    Path(
        description="`vsfb_` followed by the id of a job.",
        max_length=80,
        examples=["vsfb_d5cdb830ed9846889e048cd41ca2742f"],
    ),
]
BATCH_NOT_FOUND = failures("collection_not_found", "job_not_found", "invalid_text", *CATALOG)


@router.post(
    "/file_batches",
    summary="Add files to a vector store",
    responses={200: answer(examples.BATCH, "The batch, queued."), **NOT_ACCEPTED},
)
async def add_file_batch(
    vector_store_id: StorePath,
    body: Annotated[BatchIn, Body(openapi_examples=named(examples.ADD_BATCH))],
    node: ServingNode,
) -> FileBatchOut:
    """Queues uploaded files for ingestion in one job. The node accepts all of them or none."""
    collection = await store_named(node, vector_store_id)
    uploads = await node.files.uploads(collection.name, {each.file_id: each.attached for each in body.entries})
    job_id = await accepted(node, collection.name, uploads, chunking_of(body.chunking_strategy))
    return await _batch(node, collection, job_id)


@router.get(
    "/file_batches/{batch_id}",
    summary="Get a batch of files",
    responses={200: answer(examples.BATCH, "The current state of the batch."), **BATCH_NOT_FOUND},
)
async def get_file_batch(
    vector_store_id: StorePath, batch_id: BatchPath, node: ServingNode, response: Response
) -> FileBatchOut:
    """The progress of a batch."""
    response.headers.update(POLL)
    return await _batch(node, await store_named(node, vector_store_id), _job_id(batch_id))


@router.post(
    "/file_batches/{batch_id}/cancel",
    summary="Cancel a batch of files",
    responses={200: answer(examples.BATCH, "The state of the batch after cancelling."), **BATCH_NOT_FOUND},
)
async def cancel_file_batch(vector_store_id: StorePath, batch_id: BatchPath, node: ServingNode) -> FileBatchOut:
    """Cancels the files that are not finished. Files that were searchable before stay so."""
    collection = await store_named(node, vector_store_id)
    job = await _job(node, collection, _job_id(batch_id))
    await node.jobs.cancel(job.id)
    return await _batch(node, collection, job.id)


@router.get(
    "/file_batches/{batch_id}/files",
    summary="List the files of a batch",
    responses={200: answer(examples.ALL_IN_STORE, "A page of files."), **BATCH_NOT_FOUND},
)
async def list_batch_files(
    vector_store_id: StorePath,
    batch_id: BatchPath,
    node: ServingNode,
    limit: Limit = 20,
    after: After = None,
    order: Order = "asc",
    before: NoBefore = None,
    status: StatusFilter = None,
) -> StoreFilesOut:
    """The files of a batch in their current state, ordered by id. Deleted files are left out."""
    del order, before
    job = await _job(node, await store_named(node, vector_store_id), _job_id(batch_id))
    ids = sorted({receipt.document_id for receipt in await _receipts(node, job.id)})
    records = await node.documents.named(job.collection, ids)
    files = [StoreFileOut.of(records[id_]) for id_ in ids if id_ in records and (after is None or id_ > after)]
    found = [file for file in files if status in (None, file.status)]
    return StoreFilesOut.of(found[:limit], has_more=len(found) > limit)


def _job_id(batch_id: str) -> JobId:
    """Raises JobNotFound."""
    if not batch_id.startswith(BATCH_PREFIX):
        raise JobNotFound(f"There is no file batch {batch_id[:120]!r}; ids are {BATCH_PREFIX!r} and a job's id.")
    return JobId(batch_id.removeprefix(BATCH_PREFIX))


async def _job(node: NodeView, collection: Collection, job_id: JobId) -> Job:
    """Raises JobNotFound, also if the job belongs to another collection."""
    job = await node.jobs.get(job_id)
    if job.collection != collection.name:
        raise JobNotFound(f"There is no file batch {BATCH_PREFIX + job_id!r} in {STORE_PREFIX + collection.name!r}.")
    return job


async def _receipts(node: NodeView, job_id: JobId) -> list[Receipt]:
    found: list[Receipt] = []
    while page := await node.jobs.receipts(job_id, after=len(found), limit=PAGE):
        found += page
    return found


async def _batch(node: NodeView, collection: Collection, job_id: JobId) -> FileBatchOut:
    receipts = await _receipts(node, job_id)
    # After them: clients stop looking at a batch of which nothing is in progress, and then read its status.
    job = await _job(node, collection, job_id)
    cancelled = sum(receipt.error is not None and receipt.error.code == "cancelled" for receipt in receipts)
    failed = sum(receipt.status == "failed" for receipt in receipts) - cancelled
    waiting = sum(receipt.status == "queued" for receipt in receipts)
    counts = FileCounts(
        in_progress=waiting,
        completed=len(receipts) - waiting - failed - cancelled,
        failed=failed,
        cancelled=cancelled,
        total=len(receipts),
    )
    return FileBatchOut(
        id=BATCH_PREFIX + job.id,
        created_at=unix_seconds(job.created_at),
        vector_store_id=STORE_PREFIX + job.collection,
        status=STATUSES[job.state],
        file_counts=counts,
    )
