"""Documents: what the catalog knows of them, and their verified deletion."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from app.routes.dependencies import ServingNode
from app.schemas.documents import DocumentOut, DocumentsOut
from app.schemas.wire import CollectionName
from retrieval.types import DocumentId

router = APIRouter(prefix="/documents", tags=["documents"])


@router.get("")
async def list_documents(
    node: ServingNode,
    collection: CollectionName = "docs",
    cursor: Annotated[str | None, Query(max_length=512)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> DocumentsOut:
    """Documents by id, a page at a time."""
    records = await node.components.catalog.documents(
        collection, after=DocumentId(cursor) if cursor else None, limit=limit
    )
    return DocumentsOut(
        documents=[DocumentOut.model_validate(record) for record in records],
        next_cursor=records[-1].document.id if len(records) == limit else None,
    )


# Ids may hold slashes: those of files are their paths.
@router.get("/{document_id:path}")
async def get_document(document_id: str, node: ServingNode, collection: CollectionName = "docs") -> DocumentOut:
    """One document and what became of it."""
    return DocumentOut.model_validate(await node.components.catalog.document(collection, DocumentId(document_id)))


@router.delete("/{document_id:path}", status_code=204)
async def delete_document(document_id: str, node: ServingNode, collection: CollectionName = "docs") -> Response:
    """Answers when the store holds no chunk of the document any more."""
    await node.ingestion.delete(collection, DocumentId(document_id))
    return Response(status_code=204)
