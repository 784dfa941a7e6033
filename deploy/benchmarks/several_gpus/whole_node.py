"""A node of one number of devices: searches and ingestion, alone and both at once, and the highest rate of searches."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from app.cli.bench.load.corpus import Corpus
from app.cli.bench.load.searching import Question
from app.cli.bench.measures import Summary
from app.cli.bench.mixed import measure_mixed
from app.cli.bench.mixed_result import TITLES, ratios_of
from app.cli.bench.node import MeasuredNode
from app.cli.bench.search import search_at_rate
from deploy.benchmarks.several_gpus.faults import measure_fault
from deploy.benchmarks.several_gpus.node import corpus_and_question, load_of, node_of
from deploy.benchmarks.several_gpus.processes import processor_times
from deploy.benchmarks.several_gpus.run import Run, console

SEARCH_STEPS = 5
"""Halvings of the range in which the highest rate lies."""

FAULT_SECONDS = {"kill": 100.0, "stop": 160.0}
"""What each takes on a GPU: an engine starts within a minute, and counts as hung after another one."""


def measure_node(run: Run, devices: int, parts: Sequence[str], dummies: Mapping[str, object]) -> None:
    asked = run.asked
    with node_of(run, f"node-{devices}", **dummies, devices=str(devices)) as (node, took):
        run.found[f"node {devices}"] = {"ready_seconds": took, "health": node.client.ready()[1]}
        corpus, question = corpus_and_question(run, node)
        if "mixed" in parts:
            seconds = 3 * (asked.seconds + asked.warm_up) + 15
            run.part(f"mixed {devices}", seconds, partial(_mixed, run, devices, node, corpus))
        if "search" in parts:
            seconds = SEARCH_STEPS * (asked.seconds + asked.warm_up)
            run.part(f"search {devices}", seconds, partial(_highest_rate, run, devices, node, corpus, question))
        if "faults" in parts and devices > 1:
            for kind in asked.faults:
                run.part(
                    f"faults {kind}", FAULT_SECONDS[kind], partial(measure_fault, run, kind, node, corpus, question)
                )


def _mixed(run: Run, devices: int, node: MeasuredNode, corpus: Corpus) -> dict[str, Any]:
    load = load_of(run, run.asked.rate * devices, run.asked.seconds)
    with processor_times() as used:
        mixed = measure_mixed(node, corpus, load, pool=run.asked.pool, rounds=1, console=console)
    (stretches,) = mixed.rounds
    rows = []
    for name, stretch in stretches.items():
        times = Summary.of(stretch.searched.times) if stretch.searched else Summary.of(())
        fed = stretch.ingested
        rows.append(
            (
                TITLES[name],
                times.count,
                times.p50 or "",
                times.p99 or "",
                len(stretch.searched.samples) - times.count if stretch.searched else "",
                f"{fed.tokens_per_second:,.0f}" if fed else "",
                f"{fed.texts_per_second:,.0f}" if fed else "",
                fed.least_waiting if fed else "",
            )
        )
    run.table(
        f"Node, {devices} devices, {load.rate:g} searches/s of {load.candidates} × {run.asked.tokens}",
        ("", "searches", "p50 ms", "p99 ms", "not answered whole", "ingested tok/s", "texts/s", "least waiting"),
        rows,
    )
    record = {name: stretch.to_json() for name, stretch in stretches.items()}
    for each in record.values():
        if isinstance(each["searches"], dict):
            each["searches"].pop("samples", None)
    cores = {name: round(share, 2) for name, share in used.items()}
    run.lines += ["", f"Cores busy on the average, by program: {cores}"]
    return {"stretches": record, "ratios": ratios_of(stretches).to_json(), "cores": cores, "rate": load.rate}


def _highest_rate(run: Run, devices: int, node: MeasuredNode, corpus: Corpus, question: Question) -> dict[str, Any]:
    """By halving the range: searches alone."""
    low, high = 0.0, run.asked.highest * devices
    tried: list[tuple[Any, ...]] = []
    for number in range(SEARCH_STEPS):
        rate = (low + high) / 2
        load = load_of(run, rate, run.asked.seconds)
        searched = search_at_rate(node, corpus, question, load, seed=number)
        times = Summary.of(searched.times)
        good = bool(times.p99 and times.p99 < run.asked.p99 and not searched.errors)
        embed, recall, rerank = (searched.stage(stage).p50 for stage in ("embed", "recall", "rerank"))
        tried.append((rate, times.count, times.p50, times.p99, embed, recall, rerank, dict(searched.errors), good))
        low, high = (rate, high) if good else (low, rate)
    run.table(
        f"Searches alone, {devices} devices: highest rate with p99 below {run.asked.p99:g} ms is {low:.1f}/s",
        ("searches/s", "count", "p50 ms", "p99 ms", "embed p50", "recall p50", "rerank p50", "errors", "held"),
        sorted(tried),
    )
    return {"highest_rate": low, "tried": tried}
