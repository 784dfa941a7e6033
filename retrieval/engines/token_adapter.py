"""The two ports on whatever engine takes token ids: an embedding model and Qwen3-Reranker.

Tokenising is done here, off the event loop, because only here is it known what must survive a cut.
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
from retrieval.types import Embeddings, Lane, RerankScores, TextKind, TokenIds, Vector


class TokenEngine(Lifecycle, Protocol):
    async def encode(
        self, token_ids: Sequence[TokenIds], /, *, lane: Lane, dimensions: int | None = None
    ) -> Sequence[Vector]:
        """One finite output per prompt, in order. Errors as in `Embedder.embed`."""
        ...


EngineT = TypeVar("EngineT", bound=TokenEngine)


class TokenEmbedder(EmbeddingModel[EngineT]):
    """Port Embedder."""

    async def embed(
        self, texts: Sequence[str], *, kind: TextKind, lane: Lane, instruction: str | None = None
    ) -> Embeddings:
        """As the port says. A blank text is embedded like any other."""
        prompts = await asyncio.to_thread(self._prompts.build, texts, kind, instruction)
        ids = [prompt.ids for prompt in prompts]
        outputs = await encode_gated(self._gate, self.engine, ids, lane=lane, dimensions=self._dimensions)
        return self._embeddings(outputs, map(len, ids), (prompt.truncated_tokens for prompt in prompts))


class TokenReranker(EngineModel[EngineT]):
    """Port Reranker, for models of the Qwen3-Reranker family as published or converted to sequence classification."""

    def __init__(
        self, engine: EngineT, folder: Path, *, name: str, max_model_len: int, gate: Gate | None = None
    ) -> None:
        """As for TokenEmbedder. The engine's outputs are probabilities, shape (1,). Raises ModelUnavailable,
        ConfigurationError."""
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
