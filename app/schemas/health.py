"""What the node says of itself."""

from typing import Literal

from pydantic import Field

from app.schemas.answer import ModelsOut
from app.schemas.wire import Wire


class CheckOut(Wire):
    ok: bool
    detail: str


class ReadyOut(Wire):
    ready: bool
    phase: Literal["starting", "serving", "stopping"]
    checks: dict[str, CheckOut] = Field(description="By component: embedder, reranker, store, catalog, self_test…")
    models: ModelsOut | None = None
    store: str | None = Field(None, description="Server and version, and what it lacks.")
    self_test: list[CheckOut] = Field(default_factory=list)
