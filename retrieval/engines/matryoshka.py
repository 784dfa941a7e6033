"""Shorter vectors of a model that was trained for them (Matryoshka): the first components, normalised to unit length.

Source: Kusupati et al., NeurIPS 2022.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from tokenizers import Tokenizer

from retrieval.ports import Embedder
from retrieval.types import Embeddings, Fingerprint, Lane, TextKind, Vectors


class MatryoshkaEmbedder:
    """Implements Embedder on another embedder, which its owner starts and closes."""

    def __init__(self, whole: Embedder, dimension: int) -> None:
        """`dimension` must be below the dimension of `whole`."""
        self._whole = whole
        self._fingerprint = replace(whole.fingerprint, dimension=dimension)

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    @property
    def failure(self) -> str | None:
        return self._whole.failure

    @property
    def fingerprint(self) -> Fingerprint:
        return self._fingerprint

    @property
    def tokenizer(self) -> Tokenizer:
        return self._whole.tokenizer

    @property
    def max_tokens(self) -> int:
        return self._whole.max_tokens

    def count(self, texts: Sequence[str]) -> Sequence[int]:
        return self._whole.count(texts)

    @property
    def reducible(self) -> bool:
        return self._whole.reducible

    async def embed(
        self, texts: Sequence[str], *, kind: TextKind, lane: Lane, instruction: str | None = None
    ) -> Embeddings:
        whole = await self._whole.embed(texts, kind=kind, lane=lane, instruction=instruction)
        return replace(whole, vectors=_cut(whole.vectors, self._fingerprint.dimension), fingerprint=self._fingerprint)


def _cut(vectors: Vectors, dimension: int) -> Vectors:
    cut = vectors[:, :dimension]
    unit: Vectors = cut / np.linalg.norm(cut, axis=1, keepdims=True)
    return unit
