"""tandem reembed: moves a collection to another model or chunking while it serves."""

from pathlib import Path
from time import sleep
from typing import Any

from rich.console import Console
from rich.table import Table

from app.cli.client.node_client import Client
from app.cli.console import ProgressLog, bar
from retrieval.errors import InvalidRequest

POLL_SECONDS = 0.5


def read_chunking(text: str) -> dict[str, int]:
    """Parses `512` or `512:64`: maximum chunk length and overlap in tokens. Raises InvalidRequest."""
    parts = text.split(":")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise InvalidRequest(f"--chunking {text!r}: give the longest chunk, or it and the overlap, as in 512:64.")
    return dict(zip(("max_tokens", "overlap"), map(int, parts), strict=False))


def read_golden(folder: Path) -> list[dict[str, Any]]:
    """Reads queries and judgements of a folder in BEIR's layout; every grade above zero counts as relevant."""
    from retrieval.evaluation.datasets import load_dataset

    dataset = load_dataset(folder)
    relevant: dict[str, list[str]] = {}
    for qrel in dataset.qrels:
        if qrel.relevance > 0:
            relevant.setdefault(qrel.query_id, []).append(qrel.doc_id)
    return [{"query": dataset.queries[id_], "relevant": documents} for id_, documents in relevant.items()]


def follow(client: Client, name: str, console: Console) -> dict[str, Any]:
    """Shows progress until the work has ended, and returns its final status."""
    log = ProgressLog(console)
    with bar(console) as shown:
        task = shown.add_task("Filling", total=None)
        while (status := client.reembedding(name))["phase"] in ("filling", "measuring"):
            phase = status["phase"].capitalize()
            shown.update(task, description=phase, total=status["documents"] or None, completed=status["done"])
            log.report(f"{phase}: {status['done']} of {status['documents']} documents")
            sleep(POLL_SECONDS)
    return status


def flipped(status: dict[str, Any]) -> bool:
    """Returns whether the names were exchanged."""
    return bool(status["phase"] == "flipped")


def show_end(status: dict[str, Any], console: Console) -> None:
    if status["verdict"]:
        console.print(_table(status["verdict"]))
    console.print(status["message"], markup=False)


def _table(verdict: dict[str, Any]) -> Table:
    table = Table()
    for column in (f"nDCG@10, {verdict['queries']} queries", "now", "new", "change"):
        table.add_column(column, justify="right" if column in ("now", "new", "change") else "left")
    for stage, suffix in (("recall", ""), ("reranked", "_reranked")):
        before, after = verdict[f"before{suffix}"], verdict[f"after{suffix}"]
        table.add_row(stage, f"{before:.3f}", f"{after:.3f}", f"{after - before:+.3f}")
    return table
