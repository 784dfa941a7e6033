"""Searches of the engines alone: at rising rates without ingestion, and at one rate beside ingestion whose guaranteed
share of the device rises.
"""

import asyncio
import math
from dataclasses import replace
from typing import Any

from app.cli.bench.engine_speeds import embed_rate, search_times
from app.cli.bench.engine_work import EngineWork
from app.cli.bench.mixed_result import ratio
from deploy.benchmarks.several_gpus.run import Run

RATES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Searches a second, for all devices together."""
SATURATED = 3.0
"""Times the median of the first rate at which a rate counts as more than the engines answer."""


async def measure_rates(run: Run, work: EngineWork) -> None:
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


async def measure_shares(run: Run, work: EngineWork) -> None:
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
        times, rate = await work.search_beside_ingestion()
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
