"""The engines and gates of one number of devices, without HTTP and stores."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

from app.cli.bench.engine_speeds import EngineLoad, embed_rate, rerank_times
from app.cli.bench.engine_work import EngineWork
from app.cli.bench.measures import Summary
from app.settings import Settings, load_settings
from app.wiring.models import build_models
from deploy.benchmarks.several_gpus.engine_load import measure_rates, measure_shares
from deploy.benchmarks.several_gpus.run import Run
from retrieval.engines.cross_encoder import CrossEncoderReranker
from retrieval.engines.over_devices import SPREAD_TOKENS, OverDevices
from retrieval.engines.vllm.models import VllmEmbedder
from retrieval.gather_or_cancel import gather_or_cancel


def measure_engines(run: Run, devices: int, parts: Sequence[str], dummies: Mapping[str, object]) -> None:
    asyncio.run(_engines(run, devices, parts, load_settings(**dummies, devices=str(devices))))


async def _engines(run: Run, devices: int, parts: Sequence[str], settings: Settings) -> None:
    asked = run.asked
    load = EngineLoad(
        lengths=(64, asked.tokens),
        pools=tuple(asked.pools),
        candidates=asked.candidates,
        tokens=asked.tokens,
        rate=asked.rate * devices,
        seconds=asked.seconds,
        warm_up=asked.warm_up,
        arrivals="poisson",
        repeats=asked.repeats,
    )
    began = monotonic()
    models = await build_models(settings, lambda _: None)
    embedder, reranker, placed = models.embedder, models.reranker, models.devices
    assert isinstance(embedder, VllmEmbedder)
    assert isinstance(reranker, CrossEncoderReranker)
    try:
        await gather_or_cancel([embedder.start(), reranker.start()])
        took = run.found[f"engines started {devices}"] = monotonic() - began
        run.lines += ["", f"{asked.shapes}, {devices} devices: engines started in {took:.0f} s."]
        work = EngineWork(placed, embedder, reranker, load)
        if "engines" in parts:
            over = reranker.engine
            assert isinstance(over, OverDevices)
            run.found[f"engines {devices}"] = await _figures(run, work, over)
            run.write()
        if "load" in parts:
            await measure_rates(run, work)
            run.write()
        if "shares" in parts:
            await measure_shares(run, work)
    finally:
        await gather_or_cancel([embedder.close(), reranker.close()])


async def _figures(run: Run, work: EngineWork, over: OverDevices) -> dict[str, Any]:
    load, devices = work.load, len(work.devices)
    short = replace(load, seconds=load.seconds / 2)
    embedded = [
        await embed_rate(work.embed, work.prompts, n, short, work.options.slice_tokens, work.ahead)
        for n in load.lengths
    ]
    times: dict[str, list[Summary]] = {}
    for name, tokens in (("one device", None), ("spread", SPREAD_TOKENS)):
        if devices > 1 or tokens is None:
            over.spread_tokens = tokens
            times[name] = [(await rerank_times(work.rerank, work.prompts, pool, load)).times for pool in load.pools]
    at_once = await _closed_loop(work, 8 * devices)
    run.table(
        f"Engines alone, {devices} devices",
        ("", *(f"{pool} × {load.tokens}" for pool in load.pools)),
        [
            *((f"rerank p50 ms, {name}", *(one.p50 for one in each)) for name, each in times.items()),
            *((f"rerank p99 ms, {name}", *(one.p99 for one in each)) for name, each in times.items()),
        ],
    )
    rates = ", ".join(f"{each.tokens_per_second:,.0f} tok/s of {each.tokens} tokens" for each in embedded)
    run.lines += ["", f"Embedding, {devices} devices: {rates}. {at_once:.1f} reranks/s of {load.candidates}, at once."]
    return {
        "embed_tokens_per_second": {each.tokens: each.tokens_per_second for each in embedded},
        "rerank_ms": {
            name: dict(zip(load.pools, (one.to_json() for one in each), strict=True)) for name, each in times.items()
        },
        "reranks_per_second_at_once": at_once,
    }


async def _closed_loop(work: EngineWork, callers: int) -> float:
    """Reranks a second of so many callers, each of which asks again at once."""
    load = work.load
    pools = [work.prompts.reranked(load.candidates, load.tokens) for _ in range(2 * callers)]
    end, done = monotonic() + load.seconds / 2, 0

    async def ask(number: int) -> None:
        nonlocal done
        while monotonic() < end:
            await work.rerank(pools[number % len(pools)])
            done += 1
            number += callers

    began = monotonic()
    await gather_or_cancel(ask(number) for number in range(callers))
    return done / (monotonic() - began)
