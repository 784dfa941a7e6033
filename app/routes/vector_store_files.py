"""Files of OpenAI's vector stores, singly and in batches: documents and their jobs."""

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Body, Path, Query, Response

from app.examples import store_files as examples
from app.node import Node
from app.routes.dependencies import ServingNode
from app.routes.documented import CATALOG, STORE, answer, failures, named
from app.routes.openai_files import After, FilePath
from app.routes.vector_stores import StorePath, store_named
from app.schemas.store_files import (
    BATCH_PREFIX,
    STORE_PREFIX,
    BatchIn,
    ChunkingStrategy,
    DeletedOut,
    FileBatchOut,
    FileCounts,
    Status,
    StoreFileIn,
    StoreFileOut,
    StoreFilesOut,
    StoreFileUpdateIn,
    seconds,
)
from app.schemas.wire import Text
from ingestion.errors import JobNotFound
from ingestion.service import Upload
from ingestion.types import Chunking, DocumentRecord, Job, JobId, Receipt
from retrieval.errors import InvalidRequest
from retrieval.types import DocumentId

router = APIRouter(prefix="/v1/vector_stores/{vector_store_id}", tags=["openai"])

PAGE = 1000
POLL = {"openai-poll-after-ms": "250"}
"""How long OpenAI's clients wait before they look again."""
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
        description="`vsfb_` and the id of a job.",
        max_length=80,
        examples=["vsfb_d5cdb830ed9846889e048cd41ca2742f"],
    ),
]
Limit = Annotated[int, Query(ge=1, le=100, description="Files in the answer, at most.")]
Order = Annotated[Literal["asc"], Query(description="Files are told by their ids.")]
NoBefore = Annotated[str | None, Query(max_length=0, description="Pages go forward only: `after`.")]
Wanted = Annotated[Status | None, Query(alias="filter", description="Only those of this status.")]

FILE_NOT_FOUND = failures("collection_not_found", "document_not_found", "invalid_text", *CATALOG)
BATCH_NOT_FOUND = failures("collection_not_found", "job_not_found", "invalid_text", *CATALOG)
NOT_ACCEPTED = failures(
    *("collection_not_found", "document_not_found", "fingerprint_mismatch", "media_type_mismatch", "overloaded"),
    *("blob_store_unavailable", *CATALOG),
)


@router.post(
    "/files",
    summary="Put a file into a vector store",
    responses={200: answer(examples.IN_STORE, "The file in the store."), **NOT_ACCEPTED},
)
async def add_store_file(
    vector_store_id: StorePath,
    body: Annotated[StoreFileIn, Body(openapi_examples=named(examples.ADD))],
    node: ServingNode,
) -> StoreFileOut:
    """Queues an uploaded file for ingestion, under its id. A file that is in the store already is ingested again if
    its attributes or chunks change."""
    collection = await store_named(node, vector_store_id)
    uploads = await node.files.uploads(collection.name, {body.file_id: body.attributes or {}})
    await _accept(node, collection.name, uploads, _chunking(body.chunking_strategy))
    return StoreFileOut.of(await _record(node, collection.name, body.file_id))


@router.get(
    "/files",
    summary="List the files of a vector store",
    responses={
        200: answer(examples.ALL_IN_STORE, "A page of files."),
        **failures("collection_not_found", "invalid_text", *CATALOG),
    },
)
async def list_store_files(
    vector_store_id: StorePath,
    node: ServingNode,
    limit: Limit = 20,
    after: After = None,
    order: Order = "asc",
    before: NoBefore = None,
    status: Wanted = None,
) -> StoreFilesOut:
    """The documents of the collection, by their ids."""
    del order, before  # say that there is one way only
    collection = await store_named(node, vector_store_id)
    found: list[StoreFileOut] = []
    last = after
    while len(found) <= limit:
        records = await node.components.catalog.documents(
            collection.name, after=DocumentId(last) if last else None, limit=limit + 1 if status is None else PAGE
        )
        found += [file for file in map(StoreFileOut.of, records) if status in (None, file.status)]
        if len(records) < (limit + 1 if status is None else PAGE):
            break
        last = records[-1].document.id
    return _page(found, limit)


@router.post(
    "/file_batches",
    summary="Put files into a vector store",
    responses={200: answer(examples.BATCH, "The batch, queued."), **NOT_ACCEPTED},
)
async def add_file_batch(
    vector_store_id: StorePath,
    body: Annotated[BatchIn, Body(openapi_examples=named(examples.ADD_BATCH))],
    node: ServingNode,
) -> FileBatchOut:
    """Queues uploaded files for ingestion in one job: all of them or none."""
    collection = await store_named(node, vector_store_id)
    uploads = await node.files.uploads(collection.name, {each.file_id: each.attributes or {} for each in body.wanted})
    return await _batch(node, await _accept(node, collection.name, uploads, _chunking(body.chunking_strategy)))


@router.get(
    "/file_batches/{batch_id}",
    summary="Look at a batch of files",
    responses={200: answer(examples.BATCH, "The batch as it is now."), **BATCH_NOT_FOUND},
)
async def get_file_batch(
    vector_store_id: StorePath, batch_id: BatchPath, node: ServingNode, response: Response
) -> FileBatchOut:
    """How far it is."""
    response.headers.update(POLL)
    return await _batch(node, await _job(node, vector_store_id, batch_id))


@router.post(
    "/file_batches/{batch_id}/cancel",
    summary="Cancel a batch of files",
    responses={200: answer(examples.BATCH, "The batch as it then is."), **BATCH_NOT_FOUND},
)
async def cancel_file_batch(vector_store_id: StorePath, batch_id: BatchPath, node: ServingNode) -> FileBatchOut:
    """Stops what is not finished; what was searchable stays so."""
    job = await _job(node, vector_store_id, batch_id)
    await node.ingestion.cancel(job.id)
    return await _batch(node, job.id)


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
    status: Wanted = None,
) -> StoreFilesOut:
    """The batch's files as they are now, by their ids; those that were deleted meanwhile are left out."""
    del order, before
    job = await _job(node, vector_store_id, batch_id)
    ids = sorted({receipt.document_id for receipt in await _receipts(node, job.id)})
    records = await node.components.catalog.documents_named(job.collection, ids)
    files = [StoreFileOut.of(records[id_]) for id_ in ids if id_ in records and (after is None or id_ > after)]
    return _page([file for file in files if status in (None, file.status)], limit)


# Ids may hold slashes: those of documents that came otherwise do.
@router.get(
    "/files/{file_id:path}",
    summary="Look at one file of a vector store",
    responses={200: answer(examples.IN_STORE, "The file in the store."), **FILE_NOT_FOUND},
)
async def get_store_file(
    vector_store_id: StorePath, file_id: FilePath, node: ServingNode, response: Response
) -> StoreFileOut:
    """One, and what became of it."""
    collection = await store_named(node, vector_store_id)
    response.headers.update(POLL)
    return StoreFileOut.of(await _record(node, collection.name, file_id))


@router.post(
    "/files/{file_id:path}",
    summary="Replace the attributes of a file",
    responses={200: answer(examples.IN_STORE, "The file in the store."), **NOT_ACCEPTED},
)
async def update_store_file(
    vector_store_id: StorePath,
    file_id: FilePath,
    body: Annotated[StoreFileUpdateIn, Body(openapi_examples=named(examples.UPDATE))],
    node: ServingNode,
) -> StoreFileOut:
    """Replaces the attributes: the file is ingested again, with the vectors it has."""
    collection = await store_named(node, vector_store_id)
    record = await _record(node, collection.name, file_id)
    uploads = await node.files.uploads(collection.name, {file_id: body.attributes})
    await _accept(node, collection.name, uploads, record.document.chunking)
    return StoreFileOut.of(await _record(node, collection.name, file_id))


@router.delete(
    "/files/{file_id:path}",
    summary="Take a file out of a vector store",
    responses={
        200: answer(examples.REMOVED, "No search of the store finds the file any more."),
        **FILE_NOT_FOUND,
        **failures("document_busy", "blob_store_unavailable", *CATALOG, *STORE),
    },
)
async def remove_store_file(vector_store_id: StorePath, file_id: FilePath, node: ServingNode) -> DeletedOut:
    """Answers when the store holds no chunk of the file. A file that is in no other store is deleted with it."""
    collection = await store_named(node, vector_store_id)
    await node.ingestion.delete(collection.name, DocumentId(file_id))
    return DeletedOut(id=file_id, object="vector_store.file.deleted")


def _chunking(strategy: ChunkingStrategy | None) -> Chunking | None:
    return strategy.to_chunking() if strategy else None


async def _accept(node: Node, collection: str, uploads: Sequence[Upload], chunking: Chunking | None) -> JobId:
    job_id, receipts = await node.ingestion.accept(collection, uploads, chunking)
    left_out = next((receipt for receipt in receipts if receipt.status == "duplicate_of"), None)
    if left_out and len(receipts) == 1:
        raise InvalidRequest(
            f"file_id: the collection leaves duplicates out, and holds these bytes as {left_out.duplicate_of!r}.",
            param="file_id",
        )
    return job_id


async def _record(node: Node, collection: str, id_: str) -> DocumentRecord:
    return await node.components.catalog.document(collection, DocumentId(id_))


async def _job(node: Node, vector_store_id: str, batch_id: str) -> Job:
    collection = await store_named(node, vector_store_id)
    if batch_id.startswith(BATCH_PREFIX):
        job = await node.components.catalog.job(JobId(batch_id.removeprefix(BATCH_PREFIX)))
        if job.collection == collection.name:
            return job
    raise JobNotFound(f"There is no file batch {batch_id[:120]!r} in {vector_store_id!r}.")


async def _receipts(node: Node, job_id: JobId) -> list[Receipt]:
    found: list[Receipt] = []
    while page := await node.components.catalog.receipts(job_id, after=len(found), limit=PAGE):
        found += page
    return found


async def _batch(node: Node, of: Job | JobId) -> FileBatchOut:
    job = await node.components.catalog.job(of) if isinstance(of, str) else of
    receipts = await _receipts(node, job.id)
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
        created_at=seconds(job.created_at),
        vector_store_id=STORE_PREFIX + job.collection,
        status=STATUSES[job.state],
        file_counts=counts,
    )


def _page(found: Sequence[StoreFileOut], limit: int) -> StoreFilesOut:
    data = list(found[:limit])
    return StoreFilesOut(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=len(found) > limit,
    )
