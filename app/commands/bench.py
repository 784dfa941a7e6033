"""tandem bench: what the service costs over what its engine can do, measured side by side in one run."""

import asyncio
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.table import Table

from app.client import Client
from app.commands.evaluate import evaluate, ingest, own_node, scratch
from app.commands.evaluate_run import CLIENT, STAGES, Row
from app.commands.evaluate_table import show
from app.commands.terminal import counted
from app.settings import Settings
from app.wiring import build_profile, engine_options
from ingestion.cutting import cut
from ingestion.types import Document, ParsedDocument
from retrieval.engines.vllm_models import VllmEmbedder
from retrieval.errors import ConfigurationError
from retrieval.judged import JudgedCollection, Passage, load_collection
from retrieval.model_hub import ModelHub
from retrieval.passages import passage
from retrieval.prompts import EmbeddingPrompts
from retrieval.types import DocumentId, Lane, TokenIds

POOL = 50
HITS = 10
ASKED = 100
"""Searches whose overhead is measured, as users send them."""


def bench(folder: Path, console: Console, *, rounds: int, langchain: bool, output: Path | None) -> None:
    """Prints quality, ingestion against the bare engine and LangChain, and what search costs beside its calls."""
    judged = load_collection(folder)
    with own_node(console) as (client, settings):
        if settings.engine != "vllm":
            raise ConfigurationError("tandem bench compares with the bare engine, so it needs TANDEM_ENGINE=vllm.")
        evaluated = evaluate(client, judged, console, pool=POOL)
        overhead = _overhead(client, judged, console)
        bare, service = asyncio.run(_ingestion(settings, client, judged, rounds, console))
    show(evaluated, console)
    recalled = next(row for row in evaluated.rows if row.mode == "dense" and not row.pool)
    figures: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "collection": judged.name,
        "quality": [_quality(row) for row in evaluated.rows],
        "ingest_seconds": {"bare_engine": bare, "service": service},
        "search_overhead_ms": overhead,
    }
    table = Table(title="Ingestion: median of the rounds, spread in brackets")
    for column in ("what", "seconds", "passages/s", "against the bare engine"):
        table.add_column(column, justify="left" if column == "what" else "right")
    _add(table, "bare engine, embedding alone", bare, bare, len(judged.passages))
    _add(table, "POST /ingest until every receipt", service, bare, len(judged.passages))
    if langchain:
        other = _langchain(settings, judged, console)
        figures["langchain"] = other
        _add(
            table,
            "LangChain: HuggingFaceEmbeddings, Milvus Lite",
            [other["ingest_seconds"]],
            bare,
            len(judged.passages),
        )
    console.print(table)
    console.print(
        f"Reranked search of {HITS} hits, {ASKED} queries: median {overhead['total']:.1f} ms for the client, of which "
        f"engines and store {overhead['calls']:.1f} ms and all else {overhead['rest']:.1f} ms."
    )
    if langchain:
        console.print(
            f"LangChain: search without reranking, median {figures['langchain']['search_ms']:.1f} ms; "
            f"the service without reranking {recalled.latency_ms[CLIENT].median:.1f} ms (100 hits)."
        )
        ratio = figures["langchain"]["ingest_seconds"] / median(service)
        console.print(f"Ingestion is {ratio:.1f} times as fast as LangChain's usual way.")
    if output:
        output.write_text(json.dumps(figures, indent=2))


async def _ingestion(
    settings: Settings, client: Client, judged: JudgedCollection, rounds: int, console: Console
) -> tuple[list[float], list[float]]:
    """Seconds of each round, taken in turn so that both meet the same weather: the bare engine given every chunk's
    token ids at once, and the service given the documents. The node is idle while the bare engine works."""
    chosen = build_profile(settings)
    folder = await ModelHub(settings.models_dir).resolve(chosen.embed.id)
    options = engine_options(settings, chosen.embed, folder, settings.embed_memory_share)
    embedder = VllmEmbedder(options)
    prompts = _prompts(embedder, options.max_model_len, judged)
    console.print("Starting the bare engine")
    await embedder.start()
    bare, service = [], []
    try:
        await embedder.engine.encode(prompts[:64], lane=Lane.BULK)
        for number in range(1, rounds + 1):
            started = perf_counter()
            await embedder.engine.encode(prompts, lane=Lane.BULK)
            bare.append(perf_counter() - started)
            with scratch(client, judged) as collection:
                service.append(await asyncio.to_thread(ingest, client, collection["name"], judged, console))
            console.print(f"Round {number}: bare engine {bare[-1]:.2f} s, service {service[-1]:.2f} s")
    finally:
        await embedder.close()
    return bare, service


def _prompts(embedder: VllmEmbedder, max_model_len: int, judged: JudgedCollection) -> list[TokenIds]:
    """Token ids of the very chunks that the service makes of the passages."""
    texts = []
    for each in judged.passages:
        document = cut(_document(each), ParsedDocument(each.text, "text/plain"), embedder)
        texts += [passage(document.title, chunk.text) for chunk in document.chunks()]
    prompts = EmbeddingPrompts(embedder.tokenizer, max_model_len=max_model_len, query_format="plain")
    return [prompt.ids for prompt in prompts.documents(texts)]


def _document(each: Passage) -> Document:
    return Document(collection="", id=DocumentId(each.id), sha256="", size=0, media_type="text/plain", title=each.title)


def _quality(row: Row) -> dict[str, Any]:
    client = row.latency_ms[CLIENT]
    return {"search": row.name, **row.measures, "median_ms": client.median, "p95_ms": client.p95}


def _overhead(client: Client, judged: JudgedCollection, console: Console) -> dict[str, float]:
    """Medians in milliseconds: what the client waits for, what engines and store took of it, and the difference."""
    totals, calls = [], []
    with scratch(client, judged) as collection:
        ingest(client, collection["name"], judged, console)
        queries = islice(cycle(judged.queries.values()), ASKED)
        for query in counted(list(queries), f"{HITS} hits of {POOL} candidates reranked", console):
            started = perf_counter()
            answer = client.search(query=query, collection=collection["name"], top_k=HITS, candidates=POOL)
            totals.append((perf_counter() - started) * 1000)
            calls.append(sum(answer["timings_ms"][stage] for stage in STAGES))
    rest = [total - call for total, call in zip(totals, calls, strict=True)]
    return {"total": median(totals), "calls": median(calls), "rest": median(rest)}


def _langchain(settings: Settings, judged: JudgedCollection, console: Console) -> dict[str, float]:
    """In a process of its own, so that neither side's threads and imports weigh on the other."""
    if find_spec("langchain_milvus") is None:
        raise ConfigurationError("LangChain is not installed here: use the development set-up or --no-langchain.")
    console.print("LangChain's usual way with the same model")
    folder = asyncio.run(ModelHub(settings.models_dir).resolve(build_profile(settings).embed.id))
    work = {
        "model": str(folder),
        "texts": [passage(each.title, each.text) for each in judged.passages],
        "queries": list(judged.queries.values()),
    }
    script = Path(__file__).with_name("bench_langchain.py")
    done = subprocess.run(  # noqa: S603  # our own script
        [sys.executable, str(script)], input=json.dumps(work).encode(), stdout=subprocess.PIPE, check=True
    )
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _add(table: Table, what: str, seconds: Sequence[float], bare: Sequence[float], passages: int) -> None:
    middle = median(seconds)
    spread = f" ({min(seconds):.1f} to {max(seconds):.1f})" if len(seconds) > 1 else ""
    table.add_row(what, f"{middle:.1f}{spread}", f"{passages / middle:.0f}", f"{middle / median(bare):.2f}")
