"""The part that all engine adapters share, whether the engine takes token ids or text."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from tokenizers import Tokenizer

from retrieval.device.gate import Gate
from retrieval.errors import EngineFailed
from retrieval.models.folder import (
    full_dimension,
    matryoshka_dimension,
    read_config,
    read_prefixes,
    read_tokenizer,
    revision,
)
from retrieval.ports import Lifecycle
from retrieval.text.prompts import EmbeddingPrompts, prompt_version, query_format
from retrieval.types import Embeddings, Fingerprint, Vector

EngineT = TypeVar("EngineT", bound=Lifecycle)


class EngineModel(Generic[EngineT]):
    """A model whose start, health and end are those of its engine."""

    def __init__(self, engine: EngineT, gate: Gate | None) -> None:
        """`gate` is the gate of the engine's device; None: no other engine uses the device."""
        self.engine = engine
        self._gate = gate

    async def start(self) -> None:
        await self.engine.start()

    async def close(self) -> None:
        await self.engine.close()

    @property
    def failure(self) -> str | None:
        return self.engine.failure


class EmbeddingModel(EngineModel[EngineT]):
    """The properties of an embedding model for port Embedder, and the conversion of an engine's outputs."""

    def __init__(
        self,
        engine: EngineT,
        folder: Path,
        *,
        name: str,
        max_model_len: int,
        dimension: int | None,
        gate: Gate | None = None,
    ) -> None:
        """`folder` holds the model's configuration and tokenizer, `name` is its public name. With a `dimension` below
        the model's own, the engine cuts vectors to their first components and normalises them again (Matryoshka); the
        model must be trained for it. Raises ModelUnavailable, ConfigurationError.
        """
        super().__init__(engine, gate)
        self._dimensions = matryoshka_dimension(folder, dimension)
        self._tokenizer = read_tokenizer(folder)
        format_ = query_format(str(read_config(folder).get("model_type")))
        prefixes = read_prefixes(folder) if format_ == "plain" else {}
        self._prompts = EmbeddingPrompts(
            self._tokenizer, max_model_len=max_model_len, query_format=format_, prefixes=prefixes
        )
        self._fingerprint = Fingerprint(
            model=name,
            revision=revision(folder),
            dimension=self._dimensions or full_dimension(folder),
            normalized=True,
            prompt_version=prompt_version(prefixes),
        )

    @property
    def fingerprint(self) -> Fingerprint:
        return self._fingerprint

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    @property
    def max_tokens(self) -> int:
        return self._prompts.max_tokens

    def count(self, texts: Sequence[str]) -> Sequence[int]:
        return self._prompts.count(texts)

    @property
    def reducible(self) -> bool:
        return self._prompts.query_format == "instruct"  # Qwen3-Embedding's family

    def _embeddings(
        self, outputs: Sequence[Vector], tokens: Iterable[int], truncated_tokens: Iterable[int]
    ) -> Embeddings:
        """Converts the engine's outputs. Raises EngineFailed for vectors of a dimension other than the model's."""
        dimension = self._fingerprint.dimension
        if any(output.shape != (dimension,) for output in outputs):
            raise EngineFailed(
                f"The engine of {self._fingerprint.model} answers vectors of {outputs[0].size} components, not of "
                f"{dimension} as the model's folder says: does it serve another model?"
            )
        vectors = np.stack(outputs) if outputs else np.empty((0, dimension))
        return Embeddings(
            vectors=vectors.astype(np.float32, copy=False),
            tokens=tuple(tokens),
            truncated_tokens=tuple(truncated_tokens),
            fingerprint=self._fingerprint,
        )
