"""Documents: the list, the upload, and one document with its chunks."""

from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import UploadFile

from app.http.routes.dependencies import NodeSettings
from app.http.routes.documents import get_original
from app.http.schemas.ingest import IngestForm
from app.http.schemas.wire import CollectionName, Text
from app.ui.passages import MAX_CHUNKS, with_overlap
from app.ui.rendering import PageNode, PageRoute, UploadPageRoute, checked_form, field, redirect, render
from ingestion.contents import ChunkPage
from ingestion.errors import DocumentBusy
from ingestion.types import JobId, Upload
from retrieval.errors import InvalidRequest
from retrieval.types import DocumentId

router = APIRouter(include_in_schema=False, route_class=PageRoute)

DOCUMENTS_A_PAGE = 100

InCollection = Annotated[CollectionName, Query()]
DocumentQuery = Annotated[Text, Query(alias="id", max_length=512)]


@router.get("/ui/documents")
async def documents_page(
    request: Request,
    node: PageNode,
    collection: InCollection = "docs",
    cursor: Annotated[Text | None, Query(max_length=512)] = None,
) -> Response:
    after = DocumentId(cursor) if cursor else None
    records = await node.documents.page(collection, after=after, limit=DOCUMENTS_A_PAGE)
    return render(
        request,
        "documents.html",
        collection=collection,
        collections=await node.collections.list(),
        totals=(await node.collections.totals([collection])).get(collection),
        records=records,
        cursor=cursor,
        next_cursor=records[-1].document.id if len(records) == DOCUMENTS_A_PAGE else None,
    )


async def upload(request: Request, node: PageNode, settings: NodeSettings) -> Response:
    """Ingests the form's files. Answers with the job's page, or with its address if the page's script requests that."""
    form = await checked_form(request, max_files=settings.max_documents)
    given = IngestForm(collection=field(form, "collection", "docs"))
    uploads = [
        Upload(await file.read(), filename=file.filename, media_type=file.content_type)
        for file in form.getlist("files")
        if isinstance(file, UploadFile) and file.filename
    ]
    if not uploads:
        raise InvalidRequest("No file was chosen: choose files or a folder, or drop them on the page.")
    job_id, _ = await node.documents.ingest(given.collection, uploads)
    return _to_job(request, job_id)


router.add_api_route("/ui/upload", upload, methods=["POST"], response_model=None, route_class_override=UploadPageRoute)


@router.get("/ui/document")
async def document_page(
    request: Request,
    node: PageNode,
    document_id: DocumentQuery,
    collection: InCollection = "docs",
    first: Annotated[int, Query(alias="from", ge=0, le=10_000_000)] = 0,
) -> Response:
    id_ = DocumentId(document_id)
    missing = ""
    try:
        if node.caller.has("search"):
            page = await node.documents.chunks(collection, id_, first=first, limit=MAX_CHUNKS)
        else:
            page = ChunkPage(await node.documents.get(collection, id_), (), None)
            missing = "This key may not read texts: it has not the scope search."
    except DocumentBusy as error:
        # Its record, and what can be done with it, are of use even so.
        page, missing = ChunkPage(await node.documents.get(collection, id_), (), None), error.message
    return render(
        request,
        "document.html",
        collection=collection,
        record=page.record,
        document=page.record.document,
        passages=with_overlap(page.chunks),
        missing=missing,
        first=first,
        next_first=page.next.ordinal if page.next else None,
    )


@router.get("/ui/original")
async def original(node: PageNode, document_id: DocumentQuery, collection: InCollection = "docs") -> Response:
    return await get_original(document_id, node, collection)


@router.post("/ui/document/delete")
async def delete(request: Request, node: PageNode) -> Response:
    collection, document_id = await _named(request)
    await node.documents.delete(collection, document_id)
    query = urlencode({"collection": collection})
    return redirect(request, f"/ui/documents?{query}")


@router.post("/ui/document/reingest")
async def reingest(request: Request, node: PageNode) -> Response:
    collection, document_id = await _named(request)
    return _to_job(request, await node.documents.ingest_again(collection, [document_id]))


async def _named(request: Request) -> tuple[str, DocumentId]:
    form = await checked_form(request)
    return field(form, "collection", "docs"), DocumentId(field(form, "id"))


def _to_job(request: Request, job_id: JobId) -> Response:
    response = redirect(request, f"/ui/jobs/{quote(job_id)}")
    if request.headers.get("accept", "").startswith("application/json"):
        return JSONResponse({"location": response.headers["location"]})
    return response
