"""The audit: whether catalog, vector store and originals agree."""

from fastapi import APIRouter, Request

from app.routes.callers import unless_gone
from app.routes.dependencies import ServingNode
from app.schemas.audit import AuditIn, AuditOut

router = APIRouter(tags=["audit"])


@router.post("/audit", response_model=AuditOut)
async def audit(body: AuditIn, request: Request, node: ServingNode) -> AuditOut:
    """Compares all documents with the vector store and the originals, and answers when that is done: minutes for
    millions of chunks. One at a time; it ends when its caller leaves."""
    [report] = await unless_gone(request, [node.auditor.run(collection=body.collection, repair=body.repair)])
    return AuditOut.of(report)
