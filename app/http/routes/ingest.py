"""POST /ingest: documents as JSON, or files as multipart."""

import asyncio
from collections.abc import Sequence
from typing import TypeVar

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile

from app.access.view import NodeView
from app.errors import validation_error
from app.http.examples import ingest as examples
from app.http.routes.dependencies import NodeSettings, ServingNode, media_type_of
from app.http.routes.documented import CATALOG, answer, failures
from app.http.routes.jobs import describe
from app.http.schemas.ingest import (
    MAX_DOCUMENTS,
    AcceptedDocument,
    IdempotencyKeyHeader,
    IngestForm,
    IngestIn,
    IngestOut,
    JobOut,
)
from app.http.server.bodies import DEFAULT
from app.http.server.json_scan import JsonScan
from app.http.uploads import UploadRoute
from ingestion.errors import TooLarge, UnsupportedMediaType
from ingestion.types import IngestOptions, Upload
from retrieval.errors import InvalidRequest

Model = TypeVar("Model", bound=BaseModel)

router = APIRouter(tags=["ingest"], route_class=UploadRoute)

MAX_DATA_BYTES = 2**18
"""Maximum size of the form field `data`."""
WAIT_SECONDS = 600
"""Maximum duration of `wait`; then the answer holds the job in its current state."""

REQUEST_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"$ref": "#/components/schemas/IngestIn"},
            "examples": {name: {"value": value} for name, value in examples.REQUESTS.items()},
        },
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["files"],
                "additionalProperties": False,
                "properties": {
                    "files": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": MAX_DOCUMENTS,
                        "items": {"type": "string", "format": "binary"},
                        "description": "Files with names, which become the documents' ids.",
                    },
                    "data": {
                        "allOf": [{"$ref": "#/components/schemas/IngestForm"}],
                        "description": "Options of all files, as JSON.",
                    },
                },
            },
            "encoding": {"data": {"contentType": "application/json"}},
            "examples": {name: {"value": value} for name, value in examples.FORMS.items()},
        },
    },
}


@router.post(
    "/ingest",
    summary="Ingest documents",
    status_code=202,
    response_model=IngestOut,
    responses={
        200: {"model": JobOut, **answer(examples.JOBS, "The finished job, with `wait`.")},
        202: answer(examples.ACCEPTED, "The documents and their job are stored durably."),
        **failures(
            *("collection_not_found", "idempotency_conflict", "media_type_mismatch", "overloaded"),
            *("blob_store_unavailable", "store_full", *CATALOG),
        ),
    },
    openapi_extra={"requestBody": REQUEST_BODY},
)
async def ingest(
    request: Request, node: ServingNode, settings: NodeSettings, idempotency_key: IdempotencyKeyHeader = None
) -> Response:
    """Accepts all documents or none, and answers when originals and job are stored durably. Send files as multipart, or
    in Base64 within the JSON."""
    kind = media_type_of(request)
    if kind == "application/json":
        body = await _validate(IngestIn, await request.body())
        # Off the event loop, as its parsing: it turns every text into bytes.
        return await _accept(node, body, await asyncio.to_thread(body.uploads), idempotency_key)
    if kind == "multipart/form-data":
        form, uploads = await _read_form(request, settings.max_documents)
        return await _accept(node, form, uploads, idempotency_key)
    raise UnsupportedMediaType(
        f"Content-Type is {kind[:80]!r}; send application/json or multipart/form-data.", content_type=kind[:80]
    )


async def _accept(
    node: NodeView, body: IngestIn | IngestForm, uploads: Sequence[Upload], idempotency_key: str | None
) -> Response:
    options = IngestOptions(
        chunking=body.chunking.to_chunking() if body.chunking else None,
        ocr=body.ocr,
        boilerplate=body.boilerplate,
        split_lines=body.split_lines,
    )
    job_id, receipts = await node.documents.ingest(body.collection, uploads, options, idempotency_key=idempotency_key)
    if body.wait:
        job = await node.jobs.wait(job_id, timeout_seconds=WAIT_SECONDS)
        return _answer(await describe(node, job), 200)
    documents = [
        AcceptedDocument(document_id=each.document_id, status=each.status, duplicate_of=each.duplicate_of)
        for each in receipts
    ]
    return _answer(IngestOut(job_id=job_id, documents=documents), 202)


def _answer(body: BaseModel, status: int) -> Response:
    """Serialised here, so that FastAPI does not validate it a second time."""
    return Response(body.model_dump_json(), status, media_type="application/json")


async def _validate(model: type[Model], raw: bytes) -> Model:
    """Parses outside of the event loop: a body may have a hundred megabytes."""
    try:
        return await asyncio.to_thread(model.model_validate_json, raw)
    except ValidationError as error:
        raise validation_error(error.errors(include_url=False, include_input=False)) from None


async def _read_form(request: Request, max_files: int) -> tuple[IngestForm, list[Upload]]:
    async with request.form(max_files=max_files, max_fields=8) as fields:
        unknown = set(fields) - {"files", "data"}
        if unknown:
            raise InvalidRequest(f"{sorted(unknown)[0][:80]}: there is no such form field; use 'files' and 'data'.")
        data = fields.get("data", "{}")
        # Browsers send a part with a type of its own as a file.
        raw = (
            await data.read(MAX_DATA_BYTES + 1)
            if isinstance(data, UploadFile)
            else data.encode("utf-8", "surrogatepass")
        )
        if len(raw) > MAX_DATA_BYTES:
            raise TooLarge(f"data: has more than {MAX_DATA_BYTES:,} bytes.", limit=MAX_DATA_BYTES)
        JsonScan(DEFAULT.values, DEFAULT.containers).feed(raw)
        form = await _validate(IngestForm, raw)
        uploads = []
        for file in fields.getlist("files"):
            if not isinstance(file, UploadFile) or not file.filename:
                raise InvalidRequest("files: must be files with names.")
            uploads.append(
                Upload(
                    data=await file.read(),
                    filename=file.filename,
                    media_type=file.content_type,
                    partition=form.partition,
                    metadata=form.metadata,
                    groups=tuple(form.groups),
                    language=form.language,
                )
            )
    return form, uploads
