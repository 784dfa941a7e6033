"""Liveness, readiness and metrics."""

from asyncio import timeout
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from app.http.examples import health as examples
from app.http.routes.dependencies import NodeRunner, NodeScrape
from app.http.routes.documented import answer
from app.http.schemas.answer import ModelsOut
from app.http.schemas.health import CheckOut, DeviceOut, LiveOut, ReadyOut
from retrieval.errors import Unavailable

router = APIRouter(tags=["health"])
metrics_router = APIRouter(tags=["health"])

QUEUE_DEPTH_SECONDS = 2.0
"""A hanging database must not block the other figures."""


@router.get(
    "/health/live",
    summary="Liveness",
    responses={200: answer(examples.LIVE, "The process is alive.")},
)
async def get_liveness() -> LiveOut:
    """Answers as long as the process runs, and says nothing about its components."""
    return LiveOut(live=True)


@router.get(
    "/health/ready",
    summary="Readiness",
    response_model=ReadyOut,
    responses={
        200: answer(examples.READY, "The node is ready."),
        503: {
            "model": ReadyOut,
            **answer(examples.NOT_READY, "The node is not ready; `checks` says why, by component."),
        },
    },
)
async def get_readiness(runner: NodeRunner) -> JSONResponse:
    """200 while all components work and the models passed their self-test, otherwise 503 with the reasons."""
    problems = runner.problems()
    checks = {name: CheckOut(ok=False, detail=reason) for name, reason in problems.items()}
    body = ReadyOut(ready=not problems, phase=runner.phase, checks=checks)
    node = runner.node
    if node:
        body.self_test = [
            CheckOut(ok=check.passed, detail=f"{check.name}: {check.detail}")
            for check in (node.selftest.checks if node.selftest else ())
        ]
    if node and runner.phase == "serving":
        body.checks = {name: CheckOut(ok=True, detail="ok") for name in node.health_checks} | checks
        if lost := node.disagreeing:
            body.checks["vectors"] = CheckOut(ok=False, detail=lost)
        body.models = ModelsOut(embed=node.components.embedder.fingerprint.model, rerank=node.components.reranker.model)
        body.devices = [
            DeviceOut(
                name=device.name,
                ok=device.failure is None,
                detail=device.failure or "ok",
                restarts=device.restarts,
            )
            for device in node.components.devices or ()
        ]
        found = node.capabilities
        body.store = f"{found.server} {found.version}. {found.sparse_missing}".rstrip(". ") if found else None
    return JSONResponse(body.model_dump(mode="json"), 503 if problems else 200)


@metrics_router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=PlainTextResponse,
    responses={200: answer(examples.METRICS, "Prometheus's text format.", media_type="text/plain")},
)
async def get_metrics(runner: NodeRunner, scrape: NodeScrape) -> Response:
    """Counters, gauges and histograms of this process."""
    return Response(await scrape(runner), media_type=CONTENT_TYPE_LATEST)


async def queue_depth(read: Callable[[], Awaitable[int]]) -> int | None:
    """Returns the number of documents that `read` counts as queued or being processed; None if the database does not
    answer in time.
    """
    try:
        async with timeout(QUEUE_DEPTH_SECONDS):
            return await read()
    except (Unavailable, TimeoutError):
        return None
