"""What a node's engines are given to do, without HTTP and stores: texts, reranks, and searches of both."""

import asyncio
from collections.abc import Sequence
from time import perf_counter

from app.cli.bench.engine_speeds import EngineLoad, Prompts, fed, search_times
from app.cli.bench.measures import Summary
from app.wiring.models import SecondStageReranker
from retrieval.device.devices import Devices
from retrieval.engines.vllm.models import VllmEmbedder
from retrieval.types import Lane, TokenIds

QUERY_TOKENS = 30
RECALL_SECONDS = 0.005
"""A store's time, in which a search leaves the engines alone."""


class EngineWork:
    """The work of `load` on engines that are started."""

    def __init__(
        self, devices: Devices, embedder: VllmEmbedder, reranker: SecondStageReranker, load: EngineLoad
    ) -> None:
        self.devices, self.load = devices, load
        self.options = devices[0].gate.options
        self.ahead = len(devices) * (2 * self.options.slots + 1)
        """Bulk calls at once, which keep all devices full."""
        self.prompts = Prompts(embedder.tokenizer.get_vocab_size(), reranker.engine.options.max_model_len)
        self._embedder, self._reranker = embedder, reranker

    async def embed(self, ids: Sequence[TokenIds]) -> None:
        await self._embedder.engine.encode(ids, lane=Lane.BULK)

    async def rerank(self, ids: Sequence[TokenIds]) -> None:
        await self._reranker.engine.encode(ids, lane=Lane.INTERACTIVE)

    async def search(self) -> None:
        with self.devices.search():
            await self._embedder.engine.encode([self.prompts.text(QUERY_TOKENS)], lane=Lane.INTERACTIVE)
            await asyncio.sleep(RECALL_SECONDS)
            await self.rerank(self.prompts.reranked(self.load.candidates, self.load.tokens))

    async def search_beside_ingestion(self) -> tuple[Summary, float]:
        """Returns the searches' times, and the texts a second that were embedded meanwhile."""
        counts: list[tuple[float, int]] = []
        batches = self.prompts.batches(self.load.lengths[-1], self.options.slice_tokens)
        async with fed(self.embed, batches, self.ahead) as texts:
            times = await search_times(
                self.search, self.load, on_measured=lambda: counts.append((perf_counter(), texts()))
            )
            counts.append((perf_counter(), texts()))
        (start, before), (end, after) = counts
        return times, (after - before) / (end - start)
