"""Originals: the very bytes that documents were made of."""

from urllib.parse import quote

from fastapi import APIRouter, Response

from app.http.examples import documents as examples
from app.http.routes.dependencies import ServingNode
from app.http.routes.documented import CATALOG, answer, failures
from app.http.routes.documents import DocumentPath, InCollection
from retrieval.types import DocumentId

router = APIRouter(prefix="/originals", tags=["documents"])


# Ids may hold slashes: those of files are their paths.
@router.get(
    "/{document_id:path}",
    summary="Fetch an original",
    response_class=Response,
    responses={
        200: answer(examples.ORIGINAL, "The bytes, in the document's own media type.", media_type="*/*"),
        **failures(
            *("collection_not_found", "document_not_found", "invalid_text", "blob_missing", "blob_store_unavailable"),
            *CATALOG,
        ),
    },
)
async def get_original(document_id: DocumentPath, node: ServingNode, collection: InCollection = "docs") -> Response:
    """What was ingested, byte by byte: a text as UTF-8, a file as it was."""
    document, data = await node.ingestion.original(collection, DocumentId(document_id))
    name = quote(document_id.rpartition("/")[2] or "document", safe="")
    # Somebody else's file: to be saved, and never to be taken for a page of this service.
    headers = {
        "Content-Type": document.media_type,
        "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(data, headers=headers)
