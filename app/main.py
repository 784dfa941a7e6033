"""The HTTP application around one node."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from fastapi.responses import RedirectResponse

from app import errors
from app.limits import Admission, ApiKeys, BodyLimit
from app.node import Components, OnStep
from app.routes import (
    audit,
    collections,
    documents,
    embed,
    health,
    ingest,
    jobs,
    openai_embeddings,
    openai_files,
    reembed,
    rerank,
    search,
    vector_store_files,
    vector_stores,
)
from app.routes.dependencies import authorized
from app.runner import OnFailure, Runner
from app.settings import Settings
from app.telemetry import Metrics, Observed
from app.wiring import build_components, node_options


def create_app(
    settings: Settings, components: Components | None = None, on_failure: OnFailure | None = None
) -> FastAPI:
    """The application around one node, which starts in the background.

    `components` replaces what wiring would build. `on_failure` is told when the node cannot start at all.
    """

    metrics = Metrics()

    async def build(on_step: OnStep) -> Components:
        built = components or await build_components(settings, on_step)
        if built.gate:
            metrics.watch(built.gate)
        return built

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        runner = Runner(build, node_options(settings), on_failure)
        app.state.runner = runner
        runner.start()
        try:
            yield
        finally:
            await runner.stop()

    app = FastAPI(
        title="Tandem",
        summary="Ingestion, vector search and reranking for RAG, two models in tandem on one accelerator.",
        version="0.1.0",
        lifespan=lifespan,
    )
    app.state.settings = settings
    app.state.metrics = metrics
    app.state.api_keys = ApiKeys(settings.api_keys)
    app.state.admission = Admission(settings.max_candidates_in_flight, "candidates")
    app.state.embed_admission = Admission(settings.max_texts_in_flight, "texts")
    errors.install(app)
    app.include_router(health.router)
    app.include_router(health.metrics_router, dependencies=[Depends(authorized)])
    for module in (ingest, jobs, documents, collections, reembed, audit, search, embed):
        app.include_router(module.router, dependencies=[Depends(authorized)])
    for face in (
        *(openai_embeddings.router, openai_files.router, vector_stores.router, vector_store_files.router),
        *(rerank.router, rerank.cohere_router),
    ):
        app.include_router(face, dependencies=[Depends(authorized)])

    @app.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        return RedirectResponse("/docs")

    app.add_middleware(BodyLimit, limit_bytes=settings.max_body_mb * 2**20)
    app.add_middleware(Observed, metrics=metrics)
    return app
