"""Files of OpenAI's vector stores: documents."""

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Body, Query, Response

from app.access.view import NodeView
from app.http.compat.openai.examples import files as examples
from app.http.compat.openai.routes.files import After, FilePath
from app.http.compat.openai.routes.vector_stores import StorePath, store_named
from app.http.compat.openai.schemas.files import (
    DeletedOut,
    Status,
    StoreFileIn,
    StoreFileOut,
    StoreFilesOut,
    StoreFileUpdateIn,
    chunking_of,
)
from app.http.routes.dependencies import ServingNode
from app.http.routes.documented import CATALOG, STORE_WRITES, answer, failures, named
from app.http.routes.ids import FILE
from ingestion.types import Chunking, DocumentRecord, IngestOptions, JobId, Upload
from retrieval.errors import InvalidRequest
from retrieval.types import DocumentId

router = APIRouter(prefix="/v1/vector_stores/{vector_store_id}", tags=["openai"])

PAGE = 1000
POLL = {"openai-poll-after-ms": "250"}
"""Interval after which OpenAI's clients poll again."""
Limit = Annotated[int, Query(ge=1, le=100, description="Maximum number of files.")]
Order = Annotated[Literal["asc"], Query(description="Files are ordered by id.")]
NoBefore = Annotated[str | None, Query(max_length=0, description="Not supported: pages go forward only, by `after`.")]
StatusFilter = Annotated[Status | None, Query(alias="filter", description="List only files with this status.")]

FILE_NOT_FOUND = failures("collection_not_found", "document_not_found", "invalid_text", *CATALOG)
NOT_ACCEPTED = failures(
    *("collection_not_found", "document_not_found", "fingerprint_mismatch", "media_type_mismatch", "overloaded"),
    *("blob_store_unavailable", "store_full", *CATALOG),
)


@router.post(
    "/files",
    summary="Add a file to a vector store",
    responses={200: answer(examples.IN_STORE, "The file in the store."), **NOT_ACCEPTED},
)
async def add_store_file(
    vector_store_id: StorePath,
    body: Annotated[StoreFileIn, Body(openapi_examples=named(examples.ADD))],
    node: ServingNode,
) -> StoreFileOut:
    """Queues an uploaded file for ingestion under its id. A file that is already in the store is ingested again if its
    attributes, groups or chunking change."""
    collection = await store_named(node, vector_store_id)
    uploads = await node.files.uploads(collection.name, {body.file_id: body.attached})
    await accepted(node, collection.name, uploads, chunking_of(body.chunking_strategy))
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
    status: StatusFilter = None,
) -> StoreFilesOut:
    """The documents of the collection, ordered by id."""
    del order, before  # name the only one
    collection = await store_named(node, vector_store_id)
    found: list[StoreFileOut] = []
    last = after
    while len(found) <= limit:
        records = await node.documents.page(
            collection.name, after=DocumentId(last) if last else None, limit=limit + 1 if status is None else PAGE
        )
        found += [file for file in map(StoreFileOut.of, records) if status in (None, file.status)]
        if len(records) < (limit + 1 if status is None else PAGE):
            break
        last = records[-1].document.id
    return StoreFilesOut.of(found[:limit], has_more=len(found) > limit)


# Ids may contain slashes: those of documents that were ingested otherwise do.
@router.get(
    f"/files/{FILE}",
    summary="Get a file of a vector store",
    responses={200: answer(examples.IN_STORE, "The file in the store."), **FILE_NOT_FOUND},
)
async def get_store_file(
    vector_store_id: StorePath, file_id: FilePath, node: ServingNode, response: Response
) -> StoreFileOut:
    """One file of a vector store and the state of its ingestion."""
    collection = await store_named(node, vector_store_id)
    response.headers.update(POLL)
    return StoreFileOut.of(await _record(node, collection.name, file_id))


@router.post(
    f"/files/{FILE}",
    summary="Replace the attributes of a file",
    responses={200: answer(examples.IN_STORE, "The file in the store."), **NOT_ACCEPTED},
)
async def update_store_file(
    vector_store_id: StorePath,
    file_id: FilePath,
    body: Annotated[StoreFileUpdateIn, Body(openapi_examples=named(examples.UPDATE))],
    node: ServingNode,
) -> StoreFileOut:
    """Replaces the attributes of a file, and its groups if they are given. The file is ingested again; its vectors
    are reused."""
    collection = await store_named(node, vector_store_id)
    record = await _record(node, collection.name, file_id)
    uploads = await node.files.uploads(collection.name, {file_id: body.attached})
    await accepted(node, collection.name, uploads, record.document.chunking)
    return StoreFileOut.of(await _record(node, collection.name, file_id))


@router.delete(
    f"/files/{FILE}",
    summary="Remove a file from a vector store",
    responses={
        200: answer(examples.REMOVED, "No search of the store finds the file any more."),
        **FILE_NOT_FOUND,
        **failures("document_busy", "blob_store_unavailable", *CATALOG, *STORE_WRITES),
    },
)
async def remove_store_file(vector_store_id: StorePath, file_id: FilePath, node: ServingNode) -> DeletedOut:
    """Removes a file from a vector store, and answers when the store contains no chunk of it. Also deletes a file that
    is in no other store."""
    collection = await store_named(node, vector_store_id)
    await node.documents.delete(collection.name, DocumentId(file_id))
    return DeletedOut(id=file_id, object="vector_store.file.deleted")


async def accepted(node: NodeView, collection: str, uploads: Sequence[Upload], chunking: Chunking | None) -> JobId:
    job_id, receipts = await node.documents.ingest(collection, uploads, IngestOptions(chunking, unpack=False))
    left_out = next((receipt for receipt in receipts if receipt.status == "duplicate_of"), None)
    if left_out and len(receipts) == 1:
        raise InvalidRequest(
            f"file_id: the collection leaves duplicates out, and holds these bytes as {left_out.duplicate_of!r}.",
            param="file_id",
        )
    return job_id


async def _record(node: NodeView, collection: str, id_: str) -> DocumentRecord:
    return await node.documents.get(collection, DocumentId(id_))
