"""Searches of the engines alone: at rising rates without ingestion, and at one rate beside ingestion whose guaranteed
share of the device rises.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

from app.cli.bench.engine_speeds import (
    QUERY_TOKENS,
    RECALL_SECONDS,
    EngineLoad,
    Prompts,
    embed_rate,
    fed,
    search_times,
)
from app.cli.bench.measures import Summary
from app.cli.bench.mixed_result import ratio
from deploy.benchmarks.several_gpus.run import Run
from retrieval.device.devices import Devices
from retrieval.engines.cross_encoder import CrossEncoderReranker
from retrieval.engines.vllm.models import VllmEmbedder
from retrieval.types import Lane, TokenIds

RATES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Searches a second, for all devices together."""
SATURATED = 3.0
"""Times the median of the first rate at which a rate counts as more than the engines answer."""


class Work:
    """What the engines are given to do."""

    def __init__(
        self, devices: Devices, embedder: VllmEmbedder, reranker: CrossEncoderReranker, load: EngineLoad
    ) -> None:
        self.devices, self.reranker, self.load = devices, reranker, load
        self.options = devices[0].gate.options
        self.ahead = len(devices) * (2 * self.options.slots + 1)
        """Bulk calls at once, which keep all devices full."""
        self.prompts = Prompts(embedder.tokenizer.get_vocab_size(), reranker.engine.options.max_model_len)
        self._embedder = embedder

    async def embed(self, ids: Sequence[TokenIds]) -> None:
        await self._embedder.engine.encode(ids, lane=Lane.BULK)

    async def rerank(self, ids: Sequence[TokenIds]) -> None:
        await self.reranker.engine.encode(ids, lane=Lane.INTERACTIVE)

    async def search(self) -> None:
        with self.devices.search():
            await self._embedder.engine.encode([self.prompts.text(QUERY_TOKENS)], lane=Lane.INTERACTIVE)
            await asyncio.sleep(RECALL_SECONDS)
            await self.rerank(self.prompts.reranked(self.load.candidates, self.load.tokens))


async def measure_rates(run: Run, work: Work) -> None:
    """Raises the rate until the engines are saturated."""
    found: list[dict[str, Any]] = []
    run.found[f"load {len(work.devices)}"] = found
    await work.search()
    for rate in RATES:
        times = await search_times(work.search, replace(work.load, rate=rate))
        found.append({"rate": rate, **times.to_json()})
        first = next((each["p50"] for each in found if each["p50"]), math.inf)
        if times.p50 and times.p50 > SATURATED * first:
            break
    run.table(
        f"Searches of {work.load.candidates} × {work.load.tokens}, engines alone, {len(work.devices)} devices",
        ("searches/s", "count", "p50 ms", "p99 ms", "max ms"),
        [tuple(each[name] for name in ("rate", "count", "p50", "p99", "max")) for each in found],
    )


async def measure_shares(run: Run, work: Work) -> None:
    """Changes the share of the devices' time that the gates guarantee to ingestion."""
    load, options = work.load, work.options
    alone = await search_times(work.search, load)
    await asyncio.sleep(options.calm_seconds)
    embedded = await embed_rate(work.embed, work.prompts, load.tokens, load, options.slice_tokens, work.ahead)
    rows: list[tuple[object, ...]] = [("no ingestion", alone.count, alone.p50, alone.p99, "", "", "")]
    record: list[dict[str, Any]] = []
    run.found[f"shares {len(work.devices)}"] = {
        "alone": alone.to_json(),
        "texts_per_second_alone": embedded.texts_per_second,
        "by_share": record,
    }
    for share in run.asked.shares:
        for device in work.devices:
            device.gate.options = replace(options, bulk_share=share)
        times, rate = await _beside_ingestion(work)
        ratios = (ratio(times.p50, alone.p50), ratio(times.p99, alone.p99), ratio(rate, embedded.texts_per_second))
        rows.append(
            (f"{share:.2f}", times.count, times.p50, times.p99, *(f"{each:.2f}" if each else "" for each in ratios))
        )
        record.append({"guaranteed": share, "searches": times.to_json(), "texts_per_second": rate})
    for device in work.devices:
        device.gate.options = options
    run.table(
        f"{load.rate:g} searches/s of {load.candidates} × {load.tokens}, {len(work.devices)} devices, beside ingestion "
        f"that reaches {embedded.tokens_per_second:,.0f} tok/s alone",
        ("share guaranteed", "count", "p50 ms", "p99 ms", "p50 ×", "p99 ×", "ingestion ×"),
        rows,
    )


async def _beside_ingestion(work: Work) -> tuple[Summary, float]:
    """Returns the searches' times and the texts a second that were embedded meanwhile."""
    counts: list[tuple[float, int]] = []
    batches = work.prompts.batches(work.load.tokens, work.options.slice_tokens)
    async with fed(work.embed, batches, work.ahead) as texts:
        times = await search_times(work.search, work.load, on_measured=lambda: counts.append((perf_counter(), texts())))
        counts.append((perf_counter(), texts()))
    (start, before), (end, after) = counts
    return times, (after - before) / (end - start)
