"""The two ports on any engine that takes token ids: an embedding model and Qwen3-Reranker.

Tokenising happens here, off the event loop, because only this code knows which tokens a truncation has to keep.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from retrieval.device.gate import Gate
from retrieval.device.gated import encode_gated
from retrieval.engines.adapter import EmbeddingModel, EngineModel
from retrieval.models.folder import read_tokenizer, require_reranker
from retrieval.ports import Lifecycle
from retrieval.text.prompts import RerankPromptBuilder
from retrieval.types import Calibration, Embeddings, Lane, RerankScores, TextKind, TokenIds, Vector


class TokenEngine(Lifecycle, Protocol):
    async def encode(
        self, token_ids: Sequence[TokenIds], /, *, lane: Lane, dimensions: int | None = None
    ) -> Sequence[Vector]:
        """Returns one finite output per prompt, in order. Raises the errors of `Embedder.embed`."""
        ...


EngineT = TypeVar("EngineT", bound=TokenEngine)


class TokenEmbedder(EmbeddingModel[EngineT]):
    """Implements Embedder."""

    async def embed(
        self, texts: Sequence[str], *, kind: TextKind, lane: Lane, instruction: str | None = None
    ) -> Embeddings:
        """Implements `Embedder.embed`. A blank text is embedded like any other."""
        prompts = await asyncio.to_thread(self._prompts.build, texts, kind, instruction)
        ids = [prompt.ids for prompt in prompts]
        outputs = await encode_gated(self._gate, self.engine, ids, lane=lane, dimensions=self._dimensions)
        return self._embeddings(outputs, map(len, ids), (prompt.truncated_tokens for prompt in prompts))


class TokenReranker(EngineModel[EngineT]):
    """Implements Reranker for models of the Qwen3-Reranker family, as published or converted to sequence
    classification.
    """

    def __init__(
        self, engine: EngineT, folder: Path, *, name: str, max_model_len: int, gate: Gate | None = None
    ) -> None:
        """Takes the arguments of TokenEmbedder. The engine's outputs are probabilities of shape (1,). Raises
        ModelUnavailable, ConfigurationError.
        """
        super().__init__(engine, gate)
        require_reranker(folder)
        self._model = name
        self._prompts = RerankPromptBuilder(read_tokenizer(folder), max_model_len=max_model_len)

    @property
    def model(self) -> str:
        return self._model

    @property
    def weight(self) -> float:
        return 1.0

    @property
    def calibration(self) -> Calibration | None:
        return None

    async def rerank(
        self, query: str, passages: Sequence[str], *, lane: Lane, instruction: str | None = None
    ) -> RerankScores:
        built = await asyncio.to_thread(self._prompts.build, query, passages, instruction)
        ids = [prompt.ids for prompt in built.prompts]
        outputs = await encode_gated(self._gate, self.engine, ids, lane=lane)
        return RerankScores(
            scores=tuple(float(output[0]) for output in outputs),
            tokens=sum(len(prompt.ids) for prompt in built.prompts),
            truncated_tokens=tuple(prompt.truncated_tokens for prompt in built.prompts),
            truncated_query_tokens=built.truncated_query_tokens,
            model=self._model,
        )
