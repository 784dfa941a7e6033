"""OpenAI's files, as far as vector stores need them."""

from typing import Annotated, Literal

from fastapi import APIRouter, File, Form, Query, Response, UploadFile

from app.routes.dependencies import ServingNode
from app.routes.faces import OpenAIRoute
from app.schemas.faces import OpenAIErrorOut, errors_of
from app.schemas.store_files import DeletedOut, FileOut, FilesOut

router = APIRouter(prefix="/v1/files", tags=["openai"], route_class=OpenAIRoute, responses=errors_of(OpenAIErrorOut))

Purpose = Literal["assistants", "user_data"]


@router.post("")
async def upload_file(
    node: ServingNode,
    file: Annotated[UploadFile, File(description="Of a type that can be ingested.")],
    purpose: Annotated[Purpose, Form(description="All files are for vector stores.")] = "assistants",
    expires_after: Annotated[
        str | None, Form(alias="expires_after[anchor]", max_length=0, description="Must be absent: nothing expires.")
    ] = None,
) -> FileOut:
    """Stores a file, to be put into vector stores. One that is in none after an hour may be removed by an audit that
    repairs."""
    del purpose, expires_after
    data = await file.read()
    return FileOut.of(await node.files.keep(file.filename or "", data, file.content_type))


@router.get("")
async def list_files(
    node: ServingNode,
    purpose: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str | None, Query(max_length=600, description="The last id of the page before.")] = None,
    order: Annotated[Literal["asc"], Query(description="Files are told by their ids.")] = "asc",
) -> FilesOut:
    """The files of all vector stores, by their ids. Those that are in none are not listed."""
    del order  # says that the only one is meant
    found = await node.files.page(after, limit + 1) if purpose in (None, "assistants") else []
    data = [FileOut.of(each) for each in found[:limit]]
    return FilesOut(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=len(found) > limit,
    )


# Ids may hold slashes: those of documents that came otherwise do.
@router.get(
    "/{file_id:path}/content", response_class=Response, responses={200: {"content": {"application/octet-stream": {}}}}
)
async def read_file(file_id: str, node: ServingNode) -> Response:
    """Its bytes."""
    _, data = await node.files.read(file_id)
    return Response(data, media_type="application/octet-stream")


@router.get("/{file_id:path}")
async def get_file(file_id: str, node: ServingNode) -> FileOut:
    """One, whether or not it is in a vector store."""
    return FileOut.of(await node.files.find(file_id))


@router.delete("/{file_id:path}")
async def delete_file(file_id: str, node: ServingNode) -> DeletedOut:
    """Removes it from all vector stores, with its original."""
    await node.files.delete(file_id)
    return DeletedOut(id=file_id, object="file")
