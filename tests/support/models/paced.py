"""An embedder that takes its time, so that work can be met half done."""

import asyncio
from collections.abc import Sequence

from retrieval.types import Embeddings, Lane, TextKind
from tests.support.models.fake_models import FakeEmbedder


class PacedEmbedder(FakeEmbedder):
    """FakeEmbedder; `seconds` for each call of the bulk lane."""

    seconds = 0.0

    async def embed(
        self, texts: Sequence[str], *, kind: TextKind, lane: Lane, instruction: str | None = None
    ) -> Embeddings:
        if lane is Lane.BULK:
            await asyncio.sleep(self.seconds)
        return await super().embed(texts, kind=kind, lane=lane, instruction=instruction)
