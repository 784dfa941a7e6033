"""What the node says of itself."""

from typing import Literal

from pydantic import Field

from app.http.schemas.answer import ModelsOut
from app.http.schemas.wire import Wire


class LiveOut(Wire):
    live: bool = Field(description="Always true.")


class CheckOut(Wire):
    ok: bool = Field(description="Whether it works.")
    detail: str = Field(description="`ok`, or what is wrong.")


class ReadyOut(Wire):
    ready: bool = Field(description="Whether questions are answered.")
    phase: Literal["starting", "serving", "stopping"] = Field(description="Of the node's life.")
    checks: dict[str, CheckOut] = Field(description="By component: embedder, reranker, store, catalog, self_test…")
    models: ModelsOut | None = Field(None, description="Once the node serves.")
    store: str | None = Field(None, description="Server and version, and what it lacks.")
    self_test: list[CheckOut] = Field(
        default_factory=list, description="What both models were asked at the start, and how they did."
    )
