"""OpenAI's files, as far as vector stores need them."""

from typing import Annotated, Literal

from fastapi import APIRouter, Form, Path, Query, Response

from app.http.compat.openai.examples import files as examples
from app.http.compat.openai.schemas.files import MAX_FILE_ID_CHARACTERS, DeletedOut, FileOut, FilesOut, UploadForm
from app.http.examples import documents
from app.http.routes.dependencies import FORM_TYPE, ServingNode
from app.http.routes.documented import CATALOG, STORE_WRITES, answer, failures, named
from app.http.routes.ids import FILE
from app.http.schemas.wire import Text
from app.http.uploads import UploadRoute

router = APIRouter(prefix="/v1/files", tags=["openai"], route_class=UploadRoute)

FilePath = Annotated[
    Text,
    Path(
        description="Id of the file; slashes need no escaping.",
        min_length=1,
        max_length=MAX_FILE_ID_CHARACTERS,
        examples=[examples.FILE_ID],
    ),
]
After = Annotated[Text | None, Query(max_length=MAX_FILE_ID_CHARACTERS, description="`last_id` of the previous page.")]
NOT_FOUND = failures("document_not_found", "invalid_text", "blob_store_unavailable", *CATALOG)


@router.post(
    "",
    summary="Upload a file",
    responses={
        200: answer(examples.FILE, "The file is on disk."),
        **failures("media_type_mismatch", "blob_store_unavailable", "store_full"),
    },
    openapi_extra={"requestBody": {"content": {FORM_TYPE: {"examples": named(examples.UPLOAD)}}}},
)
async def upload_file(form: Annotated[UploadForm, Form(media_type=FORM_TYPE)], node: ServingNode) -> FileOut:
    """Stores a file that can then be added to vector stores. An audit with repair may remove a file that is in no store
    after an hour."""
    data = await form.file.read()
    return FileOut.of(await node.files.keep(form.file.filename or "", data, form.file.content_type))


@router.get(
    "",
    summary="List files",
    responses={200: answer(examples.FILES, "A page of files."), **failures("invalid_text", "unsupported", *CATALOG)},
)
async def list_files(
    node: ServingNode,
    purpose: Annotated[Text | None, Query(max_length=64, description="Only `assistants` has files.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Maximum number of files.")] = 100,
    after: After = None,
    order: Annotated[Literal["asc"], Query(description="Files are ordered by id.")] = "asc",
) -> FilesOut:
    """The files of all vector stores, ordered by id. Files that are in no store are not listed."""
    del order  # names the only one
    found = await node.files.page(after, limit + 1) if purpose in (None, "assistants") else []
    return FilesOut.of([FileOut.of(each) for each in found[:limit]], has_more=len(found) > limit)


# Ids may contain slashes: those of documents that were ingested otherwise do.
@router.get(
    f"/{FILE}/content",
    summary="Get the content of a file",
    response_class=Response,
    responses={200: answer(documents.ORIGINAL, "The bytes.", media_type="application/octet-stream"), **NOT_FOUND},
)
async def get_file_content(file_id: FilePath, node: ServingNode) -> Response:
    """The bytes that were uploaded."""
    _, data = await node.files.read(file_id)
    return Response(data, media_type="application/octet-stream")


@router.get(
    f"/{FILE}",
    summary="Get a file",
    responses={200: answer(examples.FILE, "The file."), **NOT_FOUND},
)
async def get_file(file_id: FilePath, node: ServingNode) -> FileOut:
    """One file, whether or not it is in a vector store."""
    return FileOut.of(await node.files.find(file_id))


@router.delete(
    f"/{FILE}",
    summary="Delete a file",
    responses={
        200: answer(examples.FILE_DELETED, "No vector store has it any more."),
        **NOT_FOUND,
        **failures("document_busy", *STORE_WRITES),
    },
)
async def delete_file(file_id: FilePath, node: ServingNode) -> DeletedOut:
    """Removes a file from all vector stores and deletes its original."""
    await node.files.delete(file_id)
    return DeletedOut(id=file_id, object="file")
