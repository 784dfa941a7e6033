"""The HTTP application around one node."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from secrets import token_urlsafe

from fastapi import Depends, FastAPI, Request

from app.access.limits import RateLimits
from app.access.trail import Recorder
from app.http import error_handlers
from app.http.limits import Admission
from app.http.openapi import create_api
from app.http.routes import docs_page, health
from app.http.routes.dependencies import administrator, body_as_declared, caller, view_at
from app.http.routes.guarded import GUARDED
from app.http.security.access import Access, public_paths
from app.http.security.api_keys import ApiKeys
from app.http.security.callers import Callers
from app.http.security.origins import OriginCheck
from app.http.security.tokens import tokens_of
from app.http.server.bodies import BodyBounds, BodyBudget, BodyLimitMiddleware
from app.http.server.in_flight import InFlightMiddleware, InFlightRequests
from app.http.server.occupancy import Occupancy
from app.http.server.prefix import PathBelowRoot
from app.mcp.backends import ServiceBackend
from app.mcp.server import Context, McpEndpoint, build_server
from app.mcp.tools import Tools
from app.node.node import Components, OnStep
from app.node.runner import OnFailure, Runner
from app.settings import Settings, trace_endpoint
from app.telemetry.collectors import AdmissionCollector
from app.telemetry.loop_delay import watch_loop
from app.telemetry.metrics import Metrics
from app.telemetry.observed import Telemetry, observed
from app.telemetry.requests import TelemetryMiddleware
from app.telemetry.scrape import Scrape
from app.telemetry.tracing import Tracing
from app.ui.evaluation.runs import Evaluations
from app.ui.pages import PAGES, PUBLIC_PAGES
from app.wiring.components import build_components, node_options
from app.wiring.devices import read_loads
from ingestion.ports import Catalog

BODIES_AT_ONCE = 4
"""Number of bodies of the largest size that fit into the memory for all bodies."""


def create_app(
    settings: Settings,
    components: Components | None = None,
    on_failure: OnFailure | None = None,
    tracing: Tracing | None = None,
) -> FastAPI:
    """Returns the application around one node, which starts in the background.

    `components` replaces what wiring would build, `tracing` what the environment asks for. `on_failure` is called if
    the node cannot start at all.
    """

    metrics = Metrics()
    telemetry = Telemetry(metrics, tracing or Tracing.to(trace_endpoint()))
    internal_key = token_urlsafe(32)

    async def build(on_step: OnStep) -> Components:
        built = observed(components or await build_components(settings, on_step, internal_key), telemetry)
        if built.devices:
            metrics.watch(built.devices)
        if built.worker_processes:
            built.worker_processes.report_to(metrics.registry.add)
        return built

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        runner = Runner(build, node_options(settings), on_failure)
        app.state.runner = runner

        def tools_for(context: Context) -> Tools:
            assert isinstance(context.request, Request)
            backend = ServiceBackend(partial(view_at, context.request), app.state.admission, metrics)
            return Tools(backend, on_call=metrics.observe_tool)

        endpoint = McpEndpoint(build_server(tools_for), settings.max_body_mb * 2**20)
        async with endpoint.running() as app.state.mcp:
            runner.start()
            tasks = [
                asyncio.create_task(app.state.recorder.run()),
                asyncio.create_task(watch_loop(metrics.loop_delay)),
            ]
            try:
                yield
            finally:
                await app.state.evaluations.stop()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await runner.stop()
                await asyncio.to_thread(telemetry.tracing.close)

    app = create_api(lifespan=lifespan)
    app.state.settings = settings
    app.state.metrics = metrics
    app.state.scrape = Scrape(metrics, read_loads)
    app.state.admission = Admission(settings.max_candidates_in_flight, "candidates", settings.search_deadline_seconds)
    app.state.embed_admission = Admission(settings.max_texts_in_flight, "texts", settings.search_deadline_seconds)
    metrics.queue_bound.set(settings.max_queued)
    metrics.watch_admissions(
        AdmissionCollector({"candidates": app.state.admission, "texts": app.state.embed_admission})
    )
    app.state.streams = Occupancy(
        total=settings.max_streams,
        per_address=settings.max_streams_per_address,
        trusted=settings.trusted_proxies,
    )
    app.state.in_flight = InFlightRequests()
    app.state.evaluations = Evaluations()
    error_handlers.install(app)
    app.include_router(health.router)
    guards = [] if settings.public_metrics else [Depends(caller), Depends(administrator)]
    app.include_router(health.metrics_router, dependencies=guards)
    app.include_router(docs_page.router)
    for router in GUARDED:
        app.include_router(router, dependencies=[Depends(caller), Depends(body_as_declared)])

    for router in PUBLIC_PAGES:
        app.include_router(router)
    for router in PAGES:
        app.include_router(router, dependencies=[Depends(caller)])

    max_body = settings.max_body_mb * 2**20
    bounds, budget = BodyBounds(max_body, settings.max_documents), BodyBudget(BODIES_AT_ONCE * max_body)
    app.add_middleware(BodyLimitMiddleware, bounds=bounds, budget=budget)
    app.add_middleware(PathBelowRoot)

    def catalog() -> Catalog:
        return app.state.runner.serving().components.catalog  # type: ignore[no-any-return]

    keys = ApiKeys(settings.api_keys, settings.api_keys_file, internal=internal_key)
    app.state.callers = callers = Callers(keys, catalog, tokens=tokens_of(settings), token_key=settings.token_key)
    app.state.recorder = recorder = Recorder(catalog)
    app.state.rates = rates = RateLimits()
    app.add_middleware(
        Access, callers=callers, recorder=recorder, rates=rates, metrics=metrics, public=public_paths(settings)
    )
    # The address it listens on is one of its names; with keys, names are checked only if some are set.
    names = (*settings.allowed_hosts, settings.host) if settings.allowed_hosts or not settings.requires_keys else ()
    app.add_middleware(InFlightMiddleware, in_flight=app.state.in_flight)
    app.add_middleware(OriginCheck, allowed_hosts=names, keyless=not settings.requires_keys)
    app.add_middleware(TelemetryMiddleware, telemetry=telemetry)
    return app
