"""Dependencies of routes. All are coroutines, because FastAPI runs plain functions in threads."""

import re
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.params import Form
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.types import Scope

from app.access.caller import Caller
from app.access.trail import Recorder, Trail
from app.access.view import NodeView
from app.errors import Unauthorized
from app.http.limits import Admission
from app.http.server.occupancy import Occupancy
from app.node.runner import Runner
from app.settings import Settings
from app.telemetry.metrics import Metrics
from app.telemetry.scrape import Scrape
from ingestion.errors import UnsupportedMediaType

FORM_TYPE = "multipart/form-data"
JSON_TYPE = re.compile(r"application/(json|[^/]+\+json)")


async def runner(request: Request) -> Runner:
    found = request.app.state.runner
    assert isinstance(found, Runner)
    return found


async def serving_node(request: Request) -> NodeView:
    return view_at(request)


def view_at(request: Request) -> NodeView:
    """Returns the node as the caller of the request may use it. Raises NotReady, Unauthorized."""
    found = request.app.state.runner
    assert isinstance(found, Runner)
    return NodeView(found.serving(), caller_at(request.scope), trail_at(request.scope), request.app.state.rates)


def caller_at(scope: Scope) -> Caller:
    """Returns the caller that app.http.security.access found. Raises Unauthorized for a request that it let in as
    public.
    """
    found = scope.get("state", {}).get("caller")
    if not isinstance(found, Caller):
        raise Unauthorized("This route is not public, and the request came in without being asked for a key.")
    return found


def trail_at(scope: Scope) -> Trail:
    recorder = scope["app"].state.recorder
    assert isinstance(recorder, Recorder)
    client = scope.get("client")
    request = f"{scope['method']} {scope['path']}"
    return Trail(recorder, caller_at(scope), address=client[0] if client else None, request=request)


async def settings(request: Request) -> Settings:
    found = request.app.state.settings
    assert isinstance(found, Settings)
    return found


async def metrics(request: Request) -> Metrics:
    found = request.app.state.metrics
    assert isinstance(found, Metrics)
    return found


async def scrape(request: Request) -> Scrape:
    found = request.app.state.scrape
    assert isinstance(found, Scrape)
    return found


async def admission(request: Request) -> Admission:
    found = request.app.state.admission
    assert isinstance(found, Admission)
    return found


async def streams(request: Request) -> Occupancy:
    found = request.app.state.streams
    assert isinstance(found, Occupancy)
    return found


async def embed_admission(request: Request) -> Admission:
    found = request.app.state.embed_admission
    assert isinstance(found, Admission)
    return found


bearer = HTTPBearer(
    scheme_name="ApiKey",
    description="A key of the node, of TANDEM_API_KEYS or of POST /keys. A node without keys lets every caller in.",
    auto_error=False,
)


async def caller(
    request: Request,
    _: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],  # so that the schema tells of it
) -> Caller:
    return caller_at(request.scope)


async def administrator(request: Request) -> None:
    """Raises Forbidden."""
    trail_at(request.scope).require("admin")


async def body_as_declared(request: Request) -> None:
    """Raises UnsupportedMediaType unless the body has the type that the route reads: JSON, or a form with files."""
    route = request.scope["route"]
    kind = media_type_of(request)
    if isinstance(route, APIRoute) and route.body_field:
        is_form = isinstance(route.body_field.field_info, Form)
        if not (kind == FORM_TYPE if is_form else JSON_TYPE.fullmatch(kind)):
            wanted = FORM_TYPE if is_form else "application/json"
            raise UnsupportedMediaType(f"Content-Type is {kind[:80]!r}; send {wanted}.", content_type=kind[:80])


def media_type_of(request: Request) -> str:
    """Media type of the body in lower case, without parameters; empty if the request has none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


NodeRunner = Annotated[Runner, Depends(runner)]
"""Dependency of routes that report on the node in any phase."""
ServingNode = Annotated[NodeView, Depends(serving_node)]
NodeSettings = Annotated[Settings, Depends(settings)]
NodeMetrics = Annotated[Metrics, Depends(metrics)]
NodeScrape = Annotated[Scrape, Depends(scrape)]
SearchAdmission = Annotated[Admission, Depends(admission)]
EventStreams = Annotated[Occupancy, Depends(streams)]
EmbedAdmission = Annotated[Admission, Depends(embed_admission)]
