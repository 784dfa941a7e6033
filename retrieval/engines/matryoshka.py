"""Shorter vectors of a model that was trained for them (Matryoshka): the first components, normalised to unit length.

Source: Kusupati et al., NeurIPS 2022.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from retrieval.engines.derived import DerivedEmbedder
from retrieval.ports import Embedder
from retrieval.types import Embeddings, Lane, TextKind, Vectors


class MatryoshkaEmbedder(DerivedEmbedder):
    def __init__(self, whole: Embedder, dimension: int) -> None:
        """`dimension` must be below the dimension of `whole`."""
        super().__init__(whole, replace(whole.fingerprint, dimension=dimension))

    async def embed(
        self, texts: Sequence[str], *, kind: TextKind, lane: Lane, instruction: str | None = None
    ) -> Embeddings:
        whole = await super().embed(texts, kind=kind, lane=lane, instruction=instruction)
        return replace(whole, vectors=_cut(whole.vectors, self._fingerprint.dimension))


def _cut(vectors: Vectors, dimension: int) -> Vectors:
    cut = vectors[:, :dimension]
    unit: Vectors = cut / np.linalg.norm(cut, axis=1, keepdims=True)
    return unit
