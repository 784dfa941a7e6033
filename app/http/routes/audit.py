"""The audit: whether catalog, vector store and originals agree."""

from typing import Annotated

from fastapi import APIRouter, Body, Request

from app.http.disconnect import cancel_on_disconnect
from app.http.examples import audit as examples
from app.http.routes.dependencies import ServingNode
from app.http.routes.documented import CATALOG, STORE_WRITES, answer, failures, named
from app.http.schemas.audit import AuditIn, AuditOut

router = APIRouter(tags=["audit"])


@router.post(
    "/audit",
    summary="Compare catalog, store and originals",
    responses={
        200: answer(examples.REPORTS, "The report, with what was repaired."),
        **failures("collection_not_found", "audit_running", "blob_store_unavailable", *CATALOG, *STORE_WRITES),
    },
)
async def audit(
    body: Annotated[AuditIn, Body(openapi_examples=named(examples.REQUESTS))], request: Request, node: ServingNode
) -> AuditOut:
    """Compares the catalog with the vector store and the originals, and answers when that is done, which takes minutes
    for millions of chunks. One audit runs at a time; it ends when its caller disconnects."""
    return AuditOut.of(await cancel_on_disconnect(request, node.audit(body.collection, repair=body.repair)))
