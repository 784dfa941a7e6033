"""The system page: readiness and its problems, current work, and the consistency of the stores."""

from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from app.http.disconnect import cancel_on_disconnect
from app.http.routes.dependencies import NodeMetrics, NodeRunner, SearchAdmission
from app.http.routes.health import queue_depth
from app.telemetry.metrics import Metrics
from app.ui.rendering import PageNode, PageRoute, checked_form, field, render
from app.wiring.plan_table import ROWS

router = APIRouter(prefix="/ui/system", include_in_schema=False, route_class=PageRoute)


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that the page keeps a short history of."""

    name: str
    value: float | None
    unit: str = ""


@router.get("")
async def system_page(request: Request, node: PageNode, runner: NodeRunner) -> Response:
    problems = runner.problems()
    checks = {**dict.fromkeys(node.health_checks), **problems}
    return render(
        request,
        "system.html",
        checks=checks,
        selftest=node.selftest.checks if node.selftest else (),
        models={
            "embed": node.embedder.fingerprint.model,
            "rerank": node.reranker.model,
        },
        capabilities=node.capabilities,
        devices=node.devices or (),
        plan=node.devices.plan if node.devices else None,
        plan_rows=ROWS,
    )


@router.get("/live")
async def live(request: Request, node: PageNode, metrics: NodeMetrics, admission: SearchAdmission) -> Response:
    """Returns the current numbers, as a fragment of the page."""
    figures = [
        Figure("documents waiting", await queue_depth(node.queue_depth)),
        Figure("work of searches in flight", round(admission.seconds, 2), "s"),
        Figure("searches answered", _count(metrics, "/search")),
    ]
    if devices := node.devices:
        states = [device.gate.state() for device in devices]
        figures += [
            Figure("search calls computing", sum(state.interactive for state in states)),
            Figure("ingestion slices computing", sum(state.bulk_slices for state in states)),
            Figure("ingestion tokens allowed at once", sum(state.bulk_bound for state in states)),
            Figure("ingestion tokens per second", round(sum(state.bulk_tokens_per_second for state in states))),
        ]
    return render(request, "system_live.html", figures=figures)


@router.post("/audit")
async def audit(request: Request, node: PageNode) -> Response:
    form = await checked_form(request)
    report = await cancel_on_disconnect(request, node.audit(None, repair=field(form, "repair") == "on"))
    return render(request, "audit.html", report=report, clean=report.clean)


def _count(metrics: Metrics, route: str) -> float:
    """Returns the number of answered requests of a route, errors included."""
    return sum(
        sample.value
        for metric in metrics.requests.collect()
        for sample in metric.samples
        if sample.name.endswith("_total") and sample.labels.get("route") == route
    )
