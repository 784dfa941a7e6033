"""tandem eval: quality of a running node on a judged collection, through its HTTP interface."""

import json
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from app.client import Client, Refused
from app.commands.terminal import step_teller
from app.settings import Settings, load_settings
from app.spawn import running_node
from retrieval.errors import TandemError
from retrieval.evaluation import MEASURES, JudgedCollection, load_collection, score
from retrieval.questions import Mode

DOCUMENTS_A_REQUEST = 100
DEPTH = 100
"""Hits asked for without reranking: what Recall@100 needs."""
NAMES: Mapping[Mode, str] = {"dense": "dense", "sparse": "BM25", "hybrid": "hybrid"}
"""In the order of the table."""
SHOWN = 10
"""Hits asked for with reranking: what a user asks for, and what the other measures need."""


class IngestFailed(TandemError):
    code = "ingest_failed"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: how a way of searching did."""

    name: str
    pool: int | None
    """Candidates that were reranked."""
    measures: Mapping[str, float]
    latencies_ms: Sequence[float]
    """One per query, as the client saw it."""
    answers: Sequence[Mapping[str, Any]]


def ingest(client: Client, name: str, judged: JudgedCollection) -> float:
    """Fills the collection `name`, made anew, and returns the seconds that it took. Raises IngestFailed."""
    try:
        client.delete_collection(name)
    except Refused as error:
        if error.detail["code"] != "collection_not_found":
            raise
    client.create_collection(name, language=judged.language)
    started = perf_counter()
    jobs = []
    for first in range(0, len(judged.passages), DOCUMENTS_A_REQUEST):
        documents = [
            {"id": passage.id, "title": passage.title, "text": passage.text}
            for passage in judged.passages[first : first + DOCUMENTS_A_REQUEST]
            if passage.text.strip()
        ]
        jobs.append(client.ingest(collection=name, documents=documents, wait=False)["job_id"])
    for job_id in jobs:
        *_, job = client.watch(job_id)
        if job["state"] != "succeeded":
            failed = [receipt for receipt in client.job(job_id, receipts=True)["documents"] if receipt["error"]]
            raise IngestFailed(f"{len(failed)} documents failed, the first with {failed[0]['error']}.")
    return perf_counter() - started


def search(
    client: Client, name: str, judged: JudgedCollection, console: Console, *, mode: Mode, pool: int | None
) -> Row:
    """Asks every query once, one after the other. `pool`: candidates to rerank; None: recall alone."""
    title = f"{NAMES[mode]} + rerank of {pool}" if pool else NAMES[mode]
    rankings, latencies, answers = {}, [], []
    queries = track(judged.queries.items(), title, console=console, disable=not console.is_terminal, transient=True)
    for query_id, text in queries:
        started = perf_counter()
        answer = client.search(
            query=text,
            collection=name,
            mode=mode,
            rerank=pool is not None,
            top_k=SHOWN if pool else DEPTH,
            candidates=pool or DEPTH,
        )
        latencies.append((perf_counter() - started) * 1000)
        if pool and answer["rerank"]["reason"] not in (None, "no_candidates"):
            raise Refused(f"Reranking was not applied: {answer['rerank']['reason']}", code=answer["rerank"]["reason"])
        answers.append(answer)
        rankings[query_id] = list(dict.fromkeys(hit["document_id"] for hit in answer["hits"]))
    return Row(title, pool, score(judged, rankings), latencies, answers)


def show(judged: JudgedCollection, rows: Iterable[Row], console: Console) -> None:
    table = Table(title=f"{judged.name}: {len(judged.passages):,} passages, {len(judged.queries):,} queries")
    table.add_column("search")
    for measure in MEASURES:
        table.add_column(measure, justify="right")
    table.add_column("median ms", justify="right")
    table.add_column("p95 ms", justify="right")
    for row in rows:
        # Ten hits cannot show that measure.
        values = [
            "-" if measure == "Recall@100" and row.pool else f"{row.measures[measure]:.3f}" for measure in MEASURES
        ]
        table.add_row(row.name, *values, f"{median(row.latencies_ms):.0f}", f"{p95(row.latencies_ms):.0f}")
    console.print(table)


def p95(values: Sequence[float]) -> float:
    return quantiles(values, n=20)[18] if len(values) > 1 else values[0]


def evaluate(client: Client, judged: JudgedCollection, console: Console, *, pool: int) -> tuple[float, list[Row]]:
    """Ingests into a scratch collection, recalls in every mode with and without reranking. Returns the seconds of
    ingestion, and rows: those of dense recall first."""
    name = scratch_name(judged)
    console.print(f"Ingesting {len(judged.passages):,} passages of {judged.name}")
    seconds = ingest(client, name, judged)
    rows: list[Row] = []
    for mode in NAMES:
        console.print(f"Asking {len(judged.queries):,} queries: {NAMES[mode]}, and reranked")
        try:
            rows += [search(client, name, judged, console, mode=mode, pool=each) for each in (None, pool)]
        except Refused as error:
            if error.detail["code"] != "unsupported":
                raise
            console.print(error.message, markup=False)
            break
    client.delete_collection(name)
    return seconds, rows


def scratch_name(judged: JudgedCollection) -> str:
    safe = "".join(character if character.isascii() and character.isalnum() else "_" for character in judged.name)
    return f"eval_{safe}"[:100]


@contextmanager
def own_node(console: Console) -> Iterator[tuple[Client, Settings]]:
    """A node with the settings of the environment, but in a temporary folder and on a free port."""
    with TemporaryDirectory(prefix="tandem-") as folder, console.status("Starting a node") as status:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        settings = load_settings(data_dir=Path(folder), host="127.0.0.1", port=port)
        environment = {"TANDEM_DATA_DIR": folder, "TANDEM_HOST": settings.host, "TANDEM_PORT": str(port)}
        with running_node(settings, environment, on_step=step_teller(console, status)) as client:
            status.stop()
            yield client, settings


def evaluate_folder(
    folder: Path,
    queries: str | None,
    console: Console,
    *,
    pool: int,
    url: str | None,
    api_key: str | None,
    output: Path | None,
) -> None:
    """Evaluates the node at `url`, or one of its own, prints the table and writes the figures to `output`."""
    judged = load_collection(folder, queries=queries)
    with ExitStack() as stack:
        client = stack.enter_context(Client(url, api_key)) if url else stack.enter_context(own_node(console))[0]
        seconds, rows = evaluate(client, judged, console, pool=pool)
    show(judged, rows, console)
    console.print(f"Ingested in {seconds:.1f} s.")
    if output:
        output.write_text(json.dumps({"collection": judged.name, "rows": [as_json(row) for row in rows]}, indent=2))


def as_json(row: Row) -> dict[str, Any]:
    return {
        "search": row.name,
        **row.measures,
        "median_ms": median(row.latencies_ms),
        "p95_ms": p95(row.latencies_ms),
    }
