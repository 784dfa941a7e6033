"""The same model, computed by another engine."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from retrieval.types import Embeddings, Lane, TextKind
from tests.support.models.fake_models import FakeEmbedder


class OtherEngine(FakeEmbedder):
    """Has the fingerprint of FakeEmbedder, and turns every vector by `by` of one fixed direction: rounding at 0.01,
    something else at 1. Among themselves its vectors are as good."""

    def __init__(self, *, by: float = 1.0) -> None:
        super().__init__()
        self._by = by

    async def embed(
        self, texts: Sequence[str], *, kind: TextKind, lane: Lane, instruction: str | None = None
    ) -> Embeddings:
        made = await super().embed(texts, kind=kind, lane=lane, instruction=instruction)
        turned = made.vectors + np.float32(self._by) * self._direction("turned") / np.sqrt(np.float32(self._dimension))
        turned /= np.linalg.norm(turned, axis=1, keepdims=True)
        return replace(made, vectors=turned.astype(np.float32))
