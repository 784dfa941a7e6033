"""The two ports on whatever engine takes token ids: an embedding model and Qwen3-Reranker.

Tokenising is done here, off the event loop, because only here is it known what must survive a cut.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
import structlog
from tokenizers import Tokenizer

from retrieval.engines.gated import encode_gated
from retrieval.engines.model_folder import (
    read_config,
    read_tokenizer,
    reduced_dimension,
    require_reranker,
    revision,
    whole_dimension,
)
from retrieval.errors import EngineFailed
from retrieval.gate import Gate
from retrieval.ports import Lifecycle
from retrieval.prompts import PROMPT_VERSION, EmbeddingPrompts, RerankPromptBuilder, query_format
from retrieval.types import Embeddings, Fingerprint, Lane, RerankScores, TextKind, TokenIds, Vector

log = structlog.get_logger()


class TokenEngine(Lifecycle, Protocol):
    async def encode(
        self, token_ids: Sequence[TokenIds], /, *, lane: Lane, dimensions: int | None = None
    ) -> Sequence[Vector]:
        """One finite output per prompt, in order. Errors as in `Embedder.embed`."""
        ...


EngineT = TypeVar("EngineT", bound=TokenEngine)


class EngineModel(Generic[EngineT]):
    """A model that lives and fails with its engine."""

    def __init__(self, engine: EngineT, gate: Gate | None) -> None:
        """`gate` is that of the engine's device; None: the engine has it for itself."""
        self.engine = engine
        self._gate = gate

    async def start(self) -> None:
        await self.engine.start()

    async def close(self) -> None:
        await self.engine.close()

    @property
    def failure(self) -> str | None:
        return self.engine.failure

    async def encode(
        self, token_ids: Sequence[TokenIds], *, lane: Lane, dimensions: int | None = None
    ) -> Sequence[Vector]:
        """As `TokenEngine.encode`, through the gate."""
        return await encode_gated(self._gate, self.engine, token_ids, lane=lane, dimensions=dimensions)


class TokenEmbedder(EngineModel[EngineT]):
    """Port Embedder."""

    def __init__(
        self,
        engine: EngineT,
        folder: Path,
        *,
        name: str,
        engine_version: str,
        max_model_len: int,
        dimension: int | None,
        gate: Gate | None = None,
    ) -> None:
        """`folder` holds the model's configuration and tokenizer, `name` is its public name. `dimension` below the
        model's own has the engine cut vectors to their first components and normalise again (Matryoshka); the model
        must be trained for it. Raises ModelUnavailable, ConfigurationError."""
        super().__init__(engine, gate)
        self._dimensions = reduced_dimension(folder, dimension)
        self._tokenizer = read_tokenizer(folder)
        self._prompts = EmbeddingPrompts(
            self._tokenizer,
            max_model_len=max_model_len,
            query_format=query_format(str(read_config(folder).get("model_type"))),
        )
        self._fingerprint = Fingerprint(
            model=name,
            revision=revision(folder),
            dimension=self._dimensions or whole_dimension(folder),
            normalized=True,
            prompt_version=PROMPT_VERSION,
            engine=engine_version,
        )
        self._instruction_ignored = False

    @property
    def fingerprint(self) -> Fingerprint:
        return self._fingerprint

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    @property
    def max_tokens(self) -> int:
        return self._prompts.max_tokens

    @property
    def reducible(self) -> bool:
        return self._prompts.query_format == "instruct"  # Qwen3-Embedding's family

    async def embed(
        self, texts: Sequence[str], *, kind: TextKind, lane: Lane, instruction: str | None = None
    ) -> Embeddings:
        """As the port says. A blank text is embedded like any other. A model without an instruction format ignores
        `instruction`, and says so once in the log."""
        if kind == "query":
            self._note_instruction(instruction)
            prompts = await asyncio.to_thread(self._prompts.queries, texts, instruction)
        else:
            prompts = await asyncio.to_thread(self._prompts.documents, texts)
        outputs = await self.encode([prompt.ids for prompt in prompts], lane=lane, dimensions=self._dimensions)
        dimension = self._fingerprint.dimension
        if any(output.shape != (dimension,) for output in outputs):
            raise EngineFailed(
                f"The engine of {self._fingerprint.model} answers vectors of {outputs[0].size} components; "
                f"the model's folder says {dimension}: does it serve another model?"
            )
        vectors = np.stack(outputs) if outputs else np.empty((0, dimension))
        return Embeddings(
            vectors=vectors.astype(np.float32, copy=False),
            tokens=tuple(len(prompt.ids) for prompt in prompts),
            truncated_tokens=tuple(prompt.truncated_tokens for prompt in prompts),
            fingerprint=self._fingerprint,
        )

    def _note_instruction(self, instruction: str | None) -> None:
        if instruction and self._prompts.query_format == "plain" and not self._instruction_ignored:
            self._instruction_ignored = True
            log.warning("instruction ignored", model=self._fingerprint.model, reason="the model takes bare queries")


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
        outputs = await self.encode([prompt.ids for prompt in built.prompts], lane=lane)
        return RerankScores(
            scores=tuple(float(output[0]) for output in outputs),
            tokens=sum(len(prompt.ids) for prompt in built.prompts),
            truncated_tokens=tuple(prompt.truncated_tokens for prompt in built.prompts),
            truncated_query_tokens=built.truncated_query_tokens,
            model=self._model,
        )
