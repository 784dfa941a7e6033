"""What routes take from the application. All coroutines: FastAPI would send plain functions through a thread each."""

from typing import Annotated

from fastapi import Depends, Header, Request

from app.limits import Admission, ApiKeys
from app.node import Node
from app.runner import Runner
from app.settings import Settings
from app.telemetry import Metrics


async def runner(request: Request) -> Runner:
    found = request.app.state.runner
    assert isinstance(found, Runner)
    return found


async def serving_node(runner: Annotated[Runner, Depends(runner)]) -> Node:
    return runner.serving()


async def settings(request: Request) -> Settings:
    found = request.app.state.settings
    assert isinstance(found, Settings)
    return found


async def metrics(request: Request) -> Metrics:
    found = request.app.state.metrics
    assert isinstance(found, Metrics)
    return found


async def admission(request: Request) -> Admission:
    found = request.app.state.admission
    assert isinstance(found, Admission)
    return found


async def embed_admission(request: Request) -> Admission:
    found = request.app.state.embed_admission
    assert isinstance(found, Admission)
    return found


async def authorized(
    request: Request, authorization: Annotated[str | None, Header(include_in_schema=False)] = None
) -> None:
    keys = request.app.state.api_keys
    assert isinstance(keys, ApiKeys)
    keys.check(authorization)


NodeRunner = Annotated[Runner, Depends(runner)]
"""For the routes that tell of the node in whatever phase."""
ServingNode = Annotated[Node, Depends(serving_node)]
NodeSettings = Annotated[Settings, Depends(settings)]
NodeMetrics = Annotated[Metrics, Depends(metrics)]
SearchAdmission = Annotated[Admission, Depends(admission)]
EmbedAdmission = Annotated[Admission, Depends(embed_admission)]
