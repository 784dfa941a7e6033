"""The cross-encoder as second stage: Qwen3-Reranker reads query and passage together on a vLLM engine."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Self

from retrieval.device.devices import Device
from retrieval.engines.over_devices import OverDevices
from retrieval.engines.token_adapter import TokenReranker
from retrieval.engines.vllm.engine import VllmEngine
from retrieval.engines.vllm.models import engines_on
from retrieval.engines.vllm.options import EngineOptions, EngineTask
from retrieval.models.folder import is_causal_model
from retrieval.models.profiles import Model

QWEN3_RERANKER_OVERRIDES: Mapping[str, object] = {
    "architectures": ["Qwen3ForSequenceClassification"],
    "classifier_from_token": ["no", "yes"],
    "is_original_qwen3_reranker": True,
}
"""Turns the causal language model as published into a classifier: one output, the sigmoid of (yes - no), which is the
softmax over the two."""


class CrossEncoderReranker(TokenReranker[VllmEngine | OverDevices]):
    """Implements Reranker. A score is the probability that a passage answers the query."""

    task: ClassVar[EngineTask] = "classify"

    def __init__(
        self,
        options: EngineOptions,
        *,
        devices: Sequence[Device] = (),
        on_restart: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`options.task` must be `classify`. There is an engine on each of `devices`. Raises ModelUnavailable,
        ConfigurationError."""
        if is_causal_model(options.model):
            options = replace(options, hf_overrides={**options.hf_overrides, **QWEN3_RERANKER_OVERRIDES})
        super().__init__(
            engines_on(devices, "reranker", options, on_restart),
            options.model,
            name=options.name,
            max_model_len=options.max_model_len,
        )

    @classmethod
    def for_model(cls, model: Model, options: EngineOptions, *, devices: Sequence[Device] = ()) -> Self:
        """Returns the second stage of `model`, which `options` serve. Raises as the constructor does."""
        del model  # part of the interface of every second stage
        return cls(options, devices=devices)
