"""Models split over devices, beside one device with the whole of them."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psutil

from app.cli.bench.load.corpus import Corpus
from app.cli.bench.load.searching import Question
from app.cli.bench.measures import Summary
from app.cli.bench.mixed import measure_mixed
from app.cli.bench.node import MeasuredNode, dummy_settings
from app.settings import load_settings
from app.wiring.models import build_profile
from app.wiring.placement import check_memory
from app.wiring.plan_table import plan_record
from deploy.benchmarks.several_gpus.faults import BACK_SECONDS, POLL_SECONDS
from deploy.benchmarks.several_gpus.node import corpus_and_question, load_of, node_of
from deploy.benchmarks.several_gpus.processes import hosts_by_device, memory_used
from deploy.benchmarks.several_gpus.run import Run, console


def measure_split(run: Run, shapes: str, devices: int) -> None:
    with dummy_settings(shapes, console) as dummies:
        over = (f"{shapes} over {devices}", {"tensor_parallel": devices, "devices": str(devices)})
        for name, settings in [*([over] if devices > 1 else []), (f"{shapes} on one", {"devices": "1"})]:
            needed = 75 + 2 * run.asked.seconds
            run.part(f"split {name}", needed, partial(_split, run, name, {**dummies, **settings}))


def _split(run: Run, name: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    settings = load_settings(**overrides)
    placement = check_memory(settings, build_profile(settings))
    planned = placement.plan if placement else None
    before = memory_used()
    record: dict[str, Any] = {"plan": plan_record(planned, (), placement.rows) if placement and planned else None}
    label = Path(name).name.replace(" ", "-")
    with node_of(run, f"split-{label}", **overrides) as (node, took):
        state = node.client.ready()[1]
        held = [round((now - then) / 1e9, 2) for then, now in zip(before, memory_used(), strict=True)]
        corpus, question = corpus_and_question(run, node)
        after_work = [round((now - then) / 1e9, 2) for then, now in zip(before, memory_used(), strict=True)]
        load = load_of(run, run.asked.split_rate, run.asked.seconds)
        mixed = measure_mixed(node, corpus, load, pool=run.asked.pool, rounds=1, console=console)
        (stretches,) = mixed.rounds
        alone, fed = stretches["searches"].searched, stretches["ingestion"].ingested
        assert alone is not None
        assert fed is not None
        times = Summary.of(alone.times)
        plan_gb = planned.needed_bytes / 1e9 if planned else None
        run.table(
            f"{name}: ready after {took:.0f} s, self-test passed {all(each['ok'] for each in state['self_test'])}",
            ("GB planned a device", "GB held, ready", "GB held, after work", "search p50", "p99", "ingested tok/s"),
            [(plan_gb or "", held, after_work, times.p50 or "", times.p99 or "", fed.tokens_per_second)],
        )
        record |= {
            "ready_seconds": took,
            "self_test": state["self_test"],
            "planned_gb": plan_gb,
            "held_gb_ready": held,
            "held_gb_after_work": after_work,
            "search_ms": times.to_json(),
            "errors": dict(alone.errors),
            "ingested_tokens_per_second": fed.tokens_per_second,
        }
        if settings.parts > 1 and run.left > 60:
            record["rank_killed"] = _kill_rank(run, node, question, corpus)
    return record


def _kill_rank(run: Run, node: MeasuredNode, question: Question, corpus: Corpus) -> dict[str, Any]:
    """One of the processes that the reranker is computed in. With one group of devices there is nothing to go on
    with: searches fail until all of it is back."""
    hosts = [process for group in hosts_by_device().values() for process in group]
    ranks = [child for host in hosts if "classify" in host.cmdline() for child in host.children(recursive=True)]
    rank = next(
        (each for each in reversed(ranks) if "VLLM" in each.name() or "spawn" in " ".join(each.cmdline())), None
    )
    if rank is None:
        return {"failed": f"no rank of {hosts} found"}
    killed = monotonic()
    rank.kill()
    out = back = None
    deadline = killed + min(BACK_SECONDS, run.left - 10)
    while monotonic() < deadline and back is None:
        ready, _ = node.client.ready()
        if not ready and out is None:
            out = monotonic() - killed
        if ready and out is not None:
            back = monotonic() - killed
        sleep(POLL_SECONDS)
    answered = None
    if back is not None:
        answered = node.client.search(corpus.query(0), collection=question.collection)["rerank"]["applied"]
    orphans = [each.pid for each in ranks if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    run.lines += [
        "",
        f"A rank killed: out after {out or 0:.1f} s, back after {back or 0:.1f} s, orphans {len(orphans)}.",
    ]
    return {"out_seconds": out, "back_seconds": back, "reranked_after": answered, "orphans": len(orphans)}
