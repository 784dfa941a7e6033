"""Answers about the node's health."""

from typing import Literal

from pydantic import Field

from app.http.schemas.answer import ModelsOut
from app.http.schemas.wire import Wire


class LiveOut(Wire):
    live: bool = Field(description="Always true.")


class CheckOut(Wire):
    ok: bool = Field(description="Whether the component works.")
    detail: str = Field(description="`ok`, or what is wrong.")


class ReadyOut(Wire):
    ready: bool = Field(description="Whether the node answers searches.")
    phase: Literal["starting", "serving", "stopping"] = Field(description="Phase of the node.")
    checks: dict[str, CheckOut] = Field(
        description="Checks by component: embedder, reranker, store, catalog, self_test…"
    )
    models: ModelsOut | None = Field(None, description="The models, once the node serves.")
    store: str | None = Field(None, description="Vector store: server, version and missing features.")
    self_test: list[CheckOut] = Field(
        default_factory=list, description="Checks of the self-test that both models undergo at start."
    )
