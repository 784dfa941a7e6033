"""Documents: their records in the catalog, their deletion and the bytes that were ingested."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Response

from app.access.view import NodeView
from app.http.examples import documents as examples
from app.http.routes.dependencies import ServingNode
from app.http.routes.documented import CATALOG, STORE, STORE_WRITES, answer, failures
from app.http.routes.ids import DOCUMENT
from app.http.schemas.documents import DocumentChunksOut, DocumentOut, DocumentsOut, DocumentTextOut
from app.http.schemas.wire import CollectionName, Text
from ingestion.errors import DocumentNotFound
from retrieval.types import DocumentId

router = APIRouter(prefix="/documents", tags=["documents"])
originals_router = APIRouter(prefix="/originals", tags=["documents"])

InCollection = Annotated[CollectionName, Query(description="Collection of the document.", examples=["docs", "manuals"])]
DocumentPath = Annotated[
    Text,
    Path(description="Id of the document; slashes need no escaping.", max_length=512, examples=["guides/kiln.md"]),
]
ContentCursor = Annotated[
    Text | None,
    Query(
        max_length=200,
        description="`next_cursor` of the previous page. Refused once the document was replaced.",
        examples=["100.51200.5b0e1f0c1fb7a64dfe0e5d4b28b1c9a7"],
    ),
]
CONTENTS = failures(
    *("collection_not_found", "document_not_found", "document_busy", "invalid_request", "invalid_text"),
    *(*CATALOG, *STORE),
)


@router.get(
    "",
    summary="List documents",
    responses={
        200: answer(examples.LIST, "A page of documents."),
        **failures("collection_not_found", "invalid_text", *CATALOG),
    },
)
async def list_documents(
    node: ServingNode,
    collection: Annotated[
        CollectionName, Query(description="Collection to list.", examples=["docs", "manuals"])
    ] = "docs",
    cursor: Annotated[
        Text | None, Query(max_length=512, description="`next_cursor` of the previous page.", examples=["kiln"])
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Maximum number of documents.")] = 100,
) -> DocumentsOut:
    """The documents of a collection, ordered by id, one page at a time."""
    records = await node.documents.page(collection, after=DocumentId(cursor) if cursor else None, limit=limit)
    return DocumentsOut(
        documents=[DocumentOut.model_validate(record) for record in records],
        next_cursor=records[-1].document.id if len(records) == limit else None,
    )


# Ids may hold slashes: those of files are their paths. So a document may be called `guides/text`: it is answered where
# there is no document `guides`.
@router.get(
    f"/{DOCUMENT}/text",
    summary="Get a document's text",
    responses={200: answer(examples.TEXT, "The text, or a part of it with a cursor."), **CONTENTS},
)
async def get_text(
    document_id: DocumentPath, node: ServingNode, collection: InCollection = "docs", cursor: ContentCursor = None
) -> DocumentTextOut | DocumentOut:
    """The text that was read from the document, as the chunks that search finds hold it: what the version that is
    searchable became. Long texts come in parts of about a million characters."""
    try:
        return DocumentTextOut.of(await node.documents.text(collection, DocumentId(document_id), cursor=cursor))
    except DocumentNotFound:
        if found := await _called(f"{document_id}/text", node, collection):
            return found
        raise


@router.get(
    f"/{DOCUMENT}/chunks",
    summary="Get a document's chunks",
    responses={200: answer(examples.CHUNKS, "A page of chunks."), **CONTENTS},
)
async def get_chunks(
    document_id: DocumentPath,
    node: ServingNode,
    collection: InCollection = "docs",
    cursor: ContentCursor = None,
    limit: Annotated[int, Query(ge=1, le=200, description="Maximum number of chunks.")] = 100,
) -> DocumentChunksOut | DocumentOut:
    """The chunks of a document as search finds them, in the order of the text, one page at a time."""
    try:
        page = await node.documents.chunks(collection, DocumentId(document_id), cursor=cursor, limit=limit)
    except DocumentNotFound:
        if found := await _called(f"{document_id}/chunks", node, collection):
            return found
        raise
    return DocumentChunksOut.of(page)


async def _called(document_id: str, node: NodeView, collection: str) -> DocumentOut | None:
    try:
        return DocumentOut.model_validate(await node.documents.get(collection, DocumentId(document_id)))
    except DocumentNotFound:
        return None


@router.get(
    f"/{DOCUMENT}",
    summary="Get a document",
    responses={
        200: answer(examples.ONE, "The document and the state of its ingestion."),
        **failures("collection_not_found", "document_not_found", "invalid_text", *CATALOG),
    },
)
async def get_document(document_id: DocumentPath, node: ServingNode, collection: InCollection = "docs") -> DocumentOut:
    """One document and the state of its ingestion."""
    return DocumentOut.model_validate(await node.documents.get(collection, DocumentId(document_id)))


@router.delete(
    f"/{DOCUMENT}",
    summary="Delete a document",
    status_code=204,
    responses={
        204: {"description": "The document was deleted: no search finds it any more."},
        **failures(
            *("collection_not_found", "document_not_found", "document_busy", "invalid_text", "blob_store_unavailable"),
            *(*CATALOG, *STORE_WRITES),
        ),
    },
)
async def delete_document(document_id: DocumentPath, node: ServingNode, collection: InCollection = "docs") -> Response:
    """Deletes a document, and answers when the store contains no chunk of it."""
    await node.documents.delete(collection, DocumentId(document_id))
    return Response(status_code=204)


@originals_router.get(
    f"/{DOCUMENT}",
    summary="Get an original",
    response_class=Response,
    responses={
        200: answer(examples.ORIGINAL, "The bytes, with the document's media type.", media_type="*/*"),
        **failures(
            *("collection_not_found", "document_not_found", "document_busy"),
            *("invalid_text", "blob_missing", "blob_store_unavailable"),
            *CATALOG,
        ),
    },
)
async def get_original(document_id: DocumentPath, node: ServingNode, collection: InCollection = "docs") -> Response:
    """The bytes that were ingested: a text as UTF-8, a file unchanged."""
    document, data = await node.documents.original(collection, DocumentId(document_id))
    name = quote(document_id.rpartition("/")[2] or "document", safe="")
    # Somebody else's file: to be saved, and never to be taken for a page of this service.
    headers = {
        "Content-Type": document.media_type,
        "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(data, headers=headers)
