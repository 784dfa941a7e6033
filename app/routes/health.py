"""Liveness, readiness and metrics."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app.routes.dependencies import AnyNode, NodeMetrics
from app.schemas.health import CheckOut, ReadyOut
from app.schemas.search import ModelsOut
from retrieval.errors import Unavailable

router = APIRouter(tags=["health"])


@router.get("/health/live")
async def live() -> dict[str, bool]:
    """The process answers. Says nothing of its parts."""
    return {"live": True}


@router.get("/health/ready", responses={503: {"model": ReadyOut}})
async def ready(node: AnyNode) -> JSONResponse:
    """200 while every part works and the models passed their self-test, otherwise 503 with the reasons."""
    problems = node.problems()
    parts = node.components
    serving = node.phase == "serving"
    names = ["catalog", "blobs", "parser", "store", "embedder", "reranker", "self_test"] if serving else []
    checks = {name: CheckOut(ok=True, detail="ok") for name in names}
    checks |= {name: CheckOut(ok=False, detail=reason) for name, reason in problems.items()}
    found = node.capabilities
    body = ReadyOut(
        ready=not problems,
        phase=node.phase,
        checks=checks,
        models=ModelsOut(embed=parts.embedder.fingerprint.model, rerank=parts.reranker.model) if serving else None,
        store=f"{found.server} {found.version}. {found.sparse_missing}".rstrip(". ") if found else None,
        self_test=[
            CheckOut(ok=check.passed, detail=f"{check.name}: {check.detail}")
            for check in (node.selftest.checks if node.selftest else ())
        ],
    )
    return JSONResponse(body.model_dump(mode="json"), 503 if problems else 200)


@router.get("/metrics")
async def metrics(node: AnyNode, metrics: NodeMetrics) -> Response:
    """For Prometheus."""
    metrics.ready.set(0 if node.problems() else 1)
    if node.phase == "serving":
        try:
            metrics.queue_depth.set(await node.components.catalog.queue_depth())
        except Unavailable:
            metrics.queue_depth.set(float("nan"))
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)
