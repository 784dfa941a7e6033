"""tandem eval: the quality of a running node on judged collections, through its HTTP interface."""

import socket
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from secrets import token_urlsafe
from tempfile import TemporaryDirectory
from time import perf_counter
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from rich.console import Console

from app.cli.client.ingest import Ingesting
from app.cli.client.node_client import Client
from app.cli.console import counted, step_reporter
from app.cli.evaluate.compare import compare, show_comparison
from app.cli.evaluate.run import CLIENT, NAMES, STAGES, CollectionRun, Row, Run, load, record, save
from app.cli.evaluate.table import show
from app.cli.exit_codes import print_json
from app.cli.node.spawn import running_node
from app.cli.options import STDOUT
from app.settings import PREFIX, Settings, load_settings
from langchain_tandem.client import Refused
from retrieval.errors import InvalidRequest, TandemError
from retrieval.evaluation.datasets import Dataset, load_dataset
from retrieval.evaluation.variants import machine_made
from retrieval.search.query import Mode

DOCUMENTS_A_REQUEST = 100
REQUESTS_AHEAD = 50
"""Jobs that are under way at once: enough to keep every worker busy, too few to fill the node's queue."""
MOST_HITS = 100
"""Maximum number of hits of a search, as Recall@100 needs."""
FIGURES = (".png", ".svg")


class IngestFailed(TandemError):
    code = "ingest_failed"


class NotReranked(TandemError):
    """Reranking was not applied, so its figures would be meaningless."""

    code = "not_reranked"


def check_results(json_file: Path | None, plot: Path | None) -> None:
    """Raises InvalidRequest if a file of results cannot be written."""
    for path in filter(None, (json_file, plot)):
        if not path.parent.is_dir():
            raise InvalidRequest(f"{path}: there is no folder {path.parent}.")
    if plot and plot.suffix.lower() not in FIGURES:
        raise InvalidRequest(f"{plot}: give a name that ends with {' or '.join(FIGURES)}.")


@contextmanager
def scratch(client: Client, dataset: Dataset) -> Iterator[dict[str, Any]]:
    """Yields a new collection, as the node describes it, and deletes it afterwards."""
    safe = "".join(each if each.isascii() and each.isalnum() else "_" for each in dataset.name)
    # An unpredictable name: an existing collection belongs to a user.
    collection = client.create_collection(f"eval_{safe[:80]}_{uuid4().hex[:8]}", language=dataset.language)
    try:
        yield collection
    finally:
        client.delete_collection(collection["name"])


def ingest(client: Client, name: str, dataset: Dataset, console: Console) -> float:
    """Fills the collection `name` and returns the seconds until the last receipt. Raises IngestFailed."""
    started = perf_counter()
    jobs: deque[str] = deque()
    sent = ended = 0
    with Ingesting(console, len(dataset.passages)) as progress:
        while sent < len(dataset.passages) or jobs:
            if sent < len(dataset.passages) and len(jobs) < REQUESTS_AHEAD:
                batch = dataset.passages[sent : sent + DOCUMENTS_A_REQUEST]
                documents = [{"id": each.id, "title": each.title, "text": each.text} for each in batch]
                jobs.append(client.ingest(collection=name, documents=documents, wait=False)["job_id"])
                sent += len(batch)
                progress.sent(sent)
                continue
            for job in client.watch(jobs.popleft()):
                progress.done(ended + job["progress"]["done"])
            ended += job["progress"]["done"]
            if job["state"] != "succeeded":
                receipts = client.job(job["job_id"], receipts=True)["documents"]
                failed = [receipt for receipt in receipts if receipt["error"]]
                raise IngestFailed(
                    f"{len(failed)} documents failed, the first, {failed[0]['id']!r}, with {failed[0]['error']}."
                )
    return perf_counter() - started


def search(
    client: Client,
    name: str,
    dataset: Dataset,
    console: Console,
    *,
    mode: Mode,
    pool: int | None,
    variants: Mapping[str, Sequence[str]] = MappingProxyType({}),
    fusion: Mapping[str, Any] | None = None,
) -> tuple[Row, Mapping[str, str]]:
    """Sends every query once, one after the other, with its `variants`. `pool` is the number of candidates to rerank;
    None: recall alone. `fusion` is that of POST /search. Also returns the names of the models. Raises Refused, and
    NotReranked if reranking was not applied.
    """
    depth = min(pool or MOST_HITS, MOST_HITS)
    rankings: dict[str, list[str]] = {}
    times: dict[str, dict[str, float]] = {}
    title = f"{NAMES[mode]}, {pool} candidates reranked" if pool else NAMES[mode]
    for query_id, text in counted(dataset.queries.items(), title, console):
        started = perf_counter()
        # Several chunks of one document count as one answer, so all are requested.
        answer = client.search(
            text,
            collection=name,
            mode=mode,
            rerank=pool is not None,
            top_k=depth,
            candidates=pool or depth,
            variants=list(variants.get(query_id, ())) or None,
            fusion=fusion,
        )
        elapsed = (perf_counter() - started) * 1000
        reason = answer["rerank"]["reason"]
        if pool and reason not in (None, "no_candidates"):
            raise NotReranked(f"Reranking was not applied: {reason}")
        taken = {"embed": mode != "sparse", "recall": True, "rerank": pool is not None}
        timings = answer["timings_ms"]
        times[query_id] = {CLIENT: round(elapsed, 3), "total": timings["total"]} | {
            stage: timings[stage] for stage in STAGES if taken[stage]
        }
        rankings[query_id] = list(dict.fromkeys(hit["document_id"] for hit in answer["hits"]))
    return Row.measured(mode, pool, depth, dataset.qrels, rankings, times), answer["models"]


def evaluate(
    client: Client, dataset: Dataset, console: Console, *, pool: int, modes: Sequence[Mode], variants: bool
) -> CollectionRun:
    """Ingests into a scratch collection and searches it in `modes`, each without and with reranking. `variants`: with
    those of `machine_made`.
    """
    left_out = f" ({dataset.left_out:,} more have no text and are left out)" if dataset.left_out else ""
    console.print(f"{dataset.name}: ingesting {len(dataset.passages):,} documents{left_out}", markup=False)
    rows: list[Row] = []
    no_bm25 = None
    phrasings = machine_made(dataset) if variants else {}
    with scratch(client, dataset) as collection:
        name = collection["name"]
        seconds = ingest(client, name, dataset, console)
        chunks = client.collection(name)["chunks"]
        console.print(f"Ingested in {seconds:.1f} s: {chunks:,} chunks. Asking {len(dataset.queries):,} queries")
        for mode in modes:
            try:
                for each in (None, pool):
                    row, models = search(client, name, dataset, console, mode=mode, pool=each, variants=phrasings)
                    rows.append(row)
            except Refused as error:
                if error.code != "unsupported":
                    raise
                no_bm25 = error.message
    return CollectionRun(
        name=dataset.name,
        digest=dataset.digest(),
        language=dataset.language,
        documents=len(dataset.passages),
        left_out=dataset.left_out,
        chunks=chunks,
        judgements=len(dataset.qrels),
        models=models,
        fingerprint=collection["fingerprint"],
        chunking=collection["chunking"],
        store=client.ready()[1]["store"],
        no_bm25=no_bm25,
        ingest_seconds=round(seconds, 3),
        rows=tuple(rows),
        texts=dict(dataset.queries),
    )


@contextmanager
def own_node(console: Console, **overrides: object) -> Iterator[tuple[Client, Settings]]:
    """Starts a node with the settings of the environment and `overrides`, but in a temporary folder, on a free port and
    with its own key.
    """
    with TemporaryDirectory(prefix="tandem-") as folder, console.status("Starting a node") as status:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        own = {"data_dir": Path(folder), "host": "127.0.0.1", "port": port}
        overrides = {**overrides, **own, "api_keys": token_urlsafe(32), "api_keys_file": None}
        settings = load_settings(**overrides)
        environment = {
            f"{PREFIX}{name.upper()}": "" if value is None else str(value) for name, value in overrides.items()
        }
        with running_node(settings, environment, on_step=step_reporter(console, status)) as client:
            status.stop()
            yield client, settings


def evaluate_folders(
    folders: Sequence[Path],
    console: Console,
    *,
    queries: str | None,
    mode: Mode | None,
    variants: bool,
    pool: int,
    url: str | None,
    api_key: str | None,
    output: Path | None,
    plot: Path | None,
    baseline: Path | None,
) -> bool:
    """Evaluates the node at `url`, or one of its own: prints a table for each folder, writes the run to `output` and
    the figure to `plot`, and compares with the run in `baseline`. Returns False if a row has become worse.
    """
    # Errors are found before hours of work, not after them.
    earlier = load(baseline) if baseline else None
    check_results(output, plot)
    with console.status("Reading the collections"):
        collections = [load_dataset(folder, queries=queries) for folder in folders]
    if len({dataset.name for dataset in collections}) < len(collections):
        raise InvalidRequest("Two of the folders have the same name, which their figures would go by.")
    run = Run(version("tandem-rag"), pool, (), variants)
    modes = [mode] if mode else list(NAMES)
    with ExitStack() as stack:
        client = stack.enter_context(Client(url, api_key)) if url else stack.enter_context(own_node(console))[0]
        for dataset in collections:
            evaluated = evaluate(client, dataset, console, pool=pool, modes=modes, variants=variants)
            show(evaluated, console)
            run = replace(run, collections=(*run.collections, evaluated))
            if output and output != STDOUT:
                save(run, output)
    if output == STDOUT:
        print_json(record(run))
    if plot:
        from app.cli.evaluate.plot import draw

        draw(run, plot)
    if not earlier:
        return True
    with console.status("Comparing"):
        comparison = compare(earlier, run)
    show_comparison(comparison, console)
    return not comparison.worse
