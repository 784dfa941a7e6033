"""The engines and gates of one number of devices, without HTTP and stores."""

import asyncio
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

from app.cli.bench.engine_speeds import EngineLoad, Prompts, embed_rate, rerank_times
from app.cli.bench.measures import Summary
from app.settings import load_settings
from app.wiring.models import build_models
from deploy.benchmarks.several_gpus.run import Run
from retrieval.device.devices import Devices
from retrieval.engines.cross_encoder import CrossEncoderReranker
from retrieval.engines.over_devices import SPREAD_TOKENS, OverDevices
from retrieval.engines.vllm.models import VllmEmbedder
from retrieval.gather_or_cancel import gather_or_cancel
from retrieval.types import Lane, TokenIds


def measure_engines(run: Run, devices: int, dummies: Mapping[str, object]) -> dict[str, Any]:
    settings = load_settings(**dummies, devices=str(devices))
    return asyncio.run(_engines(run, devices, settings))


async def _engines(run: Run, devices: int, settings: Any) -> dict[str, Any]:
    asked = run.asked
    load = EngineLoad(
        lengths=(64, asked.tokens),
        pools=tuple(asked.pools),
        candidates=asked.candidates,
        tokens=asked.tokens,
        rate=1,
        seconds=asked.seconds / 2,
        warm_up=2,
        arrivals="fixed",
        repeats=asked.repeats,
    )
    began = monotonic()
    models = await build_models(settings, lambda _: None)
    embedder, reranker, placed = models.embedder, models.reranker, models.devices
    assert isinstance(embedder, VllmEmbedder)
    assert isinstance(reranker, CrossEncoderReranker)
    try:
        await gather_or_cancel([embedder.start(), reranker.start()])
        start_seconds = monotonic() - began
        return await _engine_figures(run, devices, placed, embedder, reranker, load, start_seconds)
    finally:
        await gather_or_cancel([embedder.close(), reranker.close()])


async def _engine_figures(
    run: Run,
    devices: int,
    placed: Devices,
    embedder: VllmEmbedder,
    reranker: CrossEncoderReranker,
    load: EngineLoad,
    start_seconds: float,
) -> dict[str, Any]:
    prompts = Prompts(embedder.tokenizer.get_vocab_size(), reranker.engine.options.max_model_len)
    options = placed[0].gate.options
    ahead = len(placed) * (2 * options.slots + 1)

    async def embed(ids: Sequence[TokenIds]) -> None:
        await embedder.engine.encode(ids, lane=Lane.BULK)

    async def rerank(ids: Sequence[TokenIds]) -> None:
        await reranker.engine.encode(ids, lane=Lane.INTERACTIVE)

    embedded = [await embed_rate(embed, prompts, n, load, options.slice_tokens, ahead) for n in load.lengths]
    over = reranker.engine
    assert isinstance(over, OverDevices)
    times: dict[str, list[Summary]] = {}
    for name, tokens in (("one device", None), ("spread", SPREAD_TOKENS)):
        if devices > 1 or tokens is None:
            over.spread_tokens = tokens
            times[name] = [(await rerank_times(rerank, prompts, pool, load)).times for pool in load.pools]
    at_once = await _closed_loop(rerank, prompts, load, 8 * len(placed))
    run.table(
        f"Engines alone, {devices} devices (started in {start_seconds:.0f} s)",
        ("", *(f"{pool} × {load.tokens}" for pool in load.pools)),
        [
            *((f"rerank p50 ms, {name}", *(one.p50 for one in each)) for name, each in times.items()),
            *((f"rerank p99 ms, {name}", *(one.p99 for one in each)) for name, each in times.items()),
        ],
    )
    rates = ", ".join(f"{each.tokens_per_second:,.0f} tok/s of {each.tokens} tokens" for each in embedded)
    run.lines += ["", f"Embedding, {devices} devices: {rates}. {at_once:.1f} reranks/s of {load.candidates}, at once."]
    return {
        "start_seconds": start_seconds,
        "embed_tokens_per_second": {each.tokens: each.tokens_per_second for each in embedded},
        "rerank_ms": {
            name: dict(zip(load.pools, (one.to_json() for one in each), strict=True)) for name, each in times.items()
        },
        "reranks_per_second_at_once": at_once,
    }


async def _closed_loop(rerank: Any, prompts: Prompts, load: EngineLoad, callers: int) -> float:
    """Reranks a second of so many callers, each of which asks again at once."""
    pools = [prompts.reranked(load.candidates, load.tokens) for _ in range(2 * callers)]
    end, done = monotonic() + load.seconds, 0

    async def ask(number: int) -> None:
        nonlocal done
        while monotonic() < end:
            await rerank(pools[number % len(pools)][: load.candidates])
            done += 1
            number += callers

    began = monotonic()
    await gather_or_cancel(ask(number) for number in range(callers))
    return done / (monotonic() - began)
