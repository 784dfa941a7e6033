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


class DeviceOut(Wire):
    name: str = Field(description="Number of the device, or of those that each model is split over.")
    ok: bool = Field(description="Whether all of its engines serve.")
    detail: str = Field(description="`ok`, or what is wrong; its searches and documents go to other devices meanwhile.")
    restarts: int = Field(description="Engines of this device that came back since the node started.")


class ReadyOut(Wire):
    ready: bool = Field(description="Whether the node answers searches.")
    phase: Literal["starting", "serving", "stopping"] = Field(description="Phase of the node.")
    checks: dict[str, CheckOut] = Field(
        description="Checks by component: embedder, reranker, store, catalog, self_test…"
    )
    models: ModelsOut | None = Field(None, description="The models, once the node serves.")
    devices: list[DeviceOut] = Field(
        default_factory=list, description="The devices that the models compute on, once the node serves."
    )
    store: str | None = Field(None, description="Vector store: server, version and missing features.")
    self_test: list[CheckOut] = Field(
        default_factory=list, description="Checks of the self-test that both models undergo at start."
    )
