"""The table of `tandem eval`."""

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.cli.evaluate.run import CLIENT, STAGES, CollectionRun, Latency, Row
from retrieval.evaluation.metrics import MEASURES

MISSING = "-"


def new_table(title: str, columns: Iterable[str]) -> Table:
    """Returns a narrow table; the first column holds words, the others figures."""
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    table.title_justify = table.caption_justify = "left"
    table.add_column("search", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def row_label(row: Row) -> str:
    """Returns the label of a row. A reranked row stands below the recall that feeds it."""
    return "  + rerank" if row.pool else row.name


def show(run: CollectionRun, console: Console) -> None:
    """Prints the measures and the times of every row, the best of each measure in bold."""
    title = f"{escape(run.name)}: {run.documents:,} documents, {run.queries:,} queries"
    stages = (CLIENT, *STAGES)
    table = new_table(title, (*(name.replace("@", "\n@") for name in MEASURES), *(f"{name}\nms" for name in stages)))
    best = {name: max(row.measures.get(name, 0.0) for row in run.rows) for name in MEASURES}
    for row in run.rows:
        values = [_value(row.measures.get(name), best[name]) for name in MEASURES]
        table.add_row(row_label(row), *values, *(_times(row.latency_ms.get(stage)) for stage in stages))
    pool = max(row.pool or 0 for row in run.rows)
    notes = [
        f"Reranked: the best {pool} of recall.",
        "Times: median/p95; client: the whole request.",
        f"Embedder: {run.models['embed']}",
        f"Reranker: {run.models['rerank']}",
    ]
    if run.no_bm25:
        notes.append(f"No BM25, and so no hybrid search: {run.no_bm25}")
    table.caption = escape("\n".join(notes))
    console.print("", table, "", sep="\n")


def _value(value: float | None, best: float) -> str:
    if value is None:
        return MISSING
    return f"[bold]{value:.3f}[/bold]" if value == best else f"{value:.3f}"


def _times(latency: Latency | None) -> str:
    return f"{_short(latency.median)}/{_short(latency.p95)}" if latency else MISSING


def _short(milliseconds: float) -> str:
    return f"{milliseconds:.1f}" if milliseconds < 10 else f"{milliseconds:.0f}"
