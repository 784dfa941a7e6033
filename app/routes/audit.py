"""The audit: whether catalog, vector store and originals agree."""

import asyncio

from fastapi import APIRouter, Request, Response

from app.routes.dependencies import ServingNode
from app.schemas.audit import AuditIn, AuditOut

router = APIRouter(tags=["audit"])

LOOK_SECONDS = 1.0
"""How often is looked whether the caller is still there."""


@router.post("/audit", response_model=AuditOut)
async def audit(body: AuditIn, request: Request, node: ServingNode) -> AuditOut | Response:
    """Compares all documents with the vector store and the originals, and answers when that is done: minutes for
    millions of chunks. One at a time; it ends when its caller leaves."""
    running = asyncio.create_task(node.auditor.run(collection=body.collection, repair=body.repair))
    try:
        while not running.done():
            await asyncio.wait([running], timeout=LOOK_SECONDS)
            if not running.done() and await request.is_disconnected():
                return Response(status_code=499)  # which nobody reads
        return AuditOut.of(running.result())
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
