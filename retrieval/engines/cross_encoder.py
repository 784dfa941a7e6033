"""The cross-encoder as second stage: Qwen3-Reranker reads query and passage together on a vLLM engine."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import ClassVar, Self

from retrieval.device.gate import Gate
from retrieval.device.memory_wait import ReadMemory
from retrieval.engines.token_adapter import TokenReranker
from retrieval.engines.vllm.engine import VllmEngine
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


class CrossEncoderReranker(TokenReranker[VllmEngine]):
    """Implements Reranker. A score is the probability that a passage answers the query."""

    task: ClassVar[EngineTask] = "classify"

    def __init__(
        self,
        options: EngineOptions,
        *,
        gate: Gate | None = None,
        read_memory: ReadMemory | None = None,
        on_restart: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`options.task` must be `classify`. Raises ModelUnavailable, ConfigurationError."""
        if is_causal_model(options.model):
            options = replace(options, hf_overrides={**options.hf_overrides, **QWEN3_RERANKER_OVERRIDES})
        super().__init__(
            VllmEngine(options, read_memory=read_memory, on_restart=on_restart),
            options.model,
            name=options.name,
            max_model_len=options.max_model_len,
            gate=gate,
        )

    @classmethod
    def for_model(
        cls, model: Model, options: EngineOptions, *, gate: Gate | None = None, read_memory: ReadMemory | None = None
    ) -> Self:
        """Returns the second stage of `model`, which `options` serve. Raises as the constructor does."""
        del model  # part of what every kind of second stage offers
        return cls(options, gate=gate, read_memory=read_memory)
