"""What routes take from the application: the node, and the caller's right to use it."""

from typing import Annotated

from fastapi import Depends, Header, Request

from app.limits import Admission, ApiKeys
from app.node import Node
from app.settings import Settings
from app.telemetry import Metrics


def node(request: Request) -> Node:
    found = request.app.state.node
    assert isinstance(found, Node)
    return found


def serving_node(node: Annotated[Node, Depends(node)]) -> Node:
    node.check_serving()
    return node


def settings(request: Request) -> Settings:
    found = request.app.state.settings
    assert isinstance(found, Settings)
    return found


def metrics(request: Request) -> Metrics:
    found = request.app.state.metrics
    assert isinstance(found, Metrics)
    return found


def admission(request: Request) -> Admission:
    found = request.app.state.admission
    assert isinstance(found, Admission)
    return found


def authorized(request: Request, authorization: Annotated[str | None, Header(include_in_schema=False)] = None) -> None:
    keys = request.app.state.api_keys
    assert isinstance(keys, ApiKeys)
    keys.check(authorization)


AnyNode = Annotated[Node, Depends(node)]
"""The node in whatever phase: for the routes that tell of it."""
ServingNode = Annotated[Node, Depends(serving_node)]
NodeSettings = Annotated[Settings, Depends(settings)]
NodeMetrics = Annotated[Metrics, Depends(metrics)]
SearchAdmission = Annotated[Admission, Depends(admission)]
