"""The HTTP application around one node."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
from fastapi import Depends, FastAPI
from fastapi.responses import RedirectResponse

from app import errors
from app.limits import Admission, ApiKeys, BodyLimit
from app.node import Components, Node
from app.routes import collections, documents, health, ingest, jobs, search
from app.routes.dependencies import authorized
from app.settings import Settings
from app.telemetry import Metrics, Observed
from app.wiring import build_components, node_options
from retrieval.errors import TandemError

log = structlog.get_logger()

OnFailure = Callable[[TandemError], None]


def create_app(
    settings: Settings, components: Components | None = None, on_failure: OnFailure | None = None
) -> FastAPI:
    """The application. The node starts in the background, so that /health/ready can tell of it from the first moment.

    `components` replaces what wiring would build. `on_failure` is told when the node cannot start at all.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        node = Node(components or build_components(settings), node_options(settings))
        app.state.node = node
        starting = asyncio.create_task(_start(node, on_failure))
        try:
            yield
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await node.stop()

    metrics = Metrics()
    app = FastAPI(
        title="Tandem",
        summary="Ingestion, vector search and reranking for RAG, two models in tandem on one accelerator.",
        version="0.1.0",
        lifespan=lifespan,
    )
    app.state.settings = settings
    app.state.metrics = metrics
    app.state.api_keys = ApiKeys(settings.api_keys)
    app.state.admission = Admission(settings.max_candidates_in_flight)
    errors.install(app)
    app.include_router(health.router)
    for module in (ingest, jobs, documents, collections, search):
        app.include_router(module.router, dependencies=[Depends(authorized)])

    @app.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        return RedirectResponse("/docs")

    app.add_middleware(BodyLimit, limit_bytes=settings.max_body_mb * 2**20)
    app.add_middleware(Observed, metrics=metrics)
    return app


async def _start(node: Node, on_failure: OnFailure | None) -> None:
    try:
        await node.start()
    except TandemError as error:
        log.error("the node cannot start", code=error.code, reason=error.message)
        if on_failure:
            on_failure(error)
