"""tandem search: the hits as a table, with their change of rank from recall to reranking."""

import json
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.ranks import recall_rank

EXCERPT_CHARACTERS = 140


def read_filter(text: str | None) -> Any:
    """Parses JSON. The node checks the filter's meaning."""
    try:
        return None if text is None else json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint="--filter") from None


def show_hits(answer: dict[str, Any], console: Console) -> None:
    hits = answer["hits"]
    reranked = answer["rerank"]["applied"]
    if not hits:
        console.print("No hit.")
    else:
        table = Table(box=None, pad_edge=False, show_header=True, header_style="bold")
        table.add_column("#", justify="right")
        table.add_column(answer["score_name"], justify="right")
        table.add_column("recall", justify="right")
        table.add_column("document", overflow="fold", max_width=30)
        table.add_column("excerpt", overflow="fold")
        for place, hit in enumerate(hits, start=1):
            recalled = recall_rank(hit["ranks"])
            table.add_row(
                str(place),
                "-" if hit["score"] is None else f"{hit['score']:.3f}",
                _move(place, recalled) if reranked else str(recalled),
                Text(hit["title"] or hit["document_id"]),
                Text(_excerpt(hit["text"])),
            )
        console.print(table)
    console.print(Text(_footer(answer), style="dim"))


def _move(place: int, recalled: int | None) -> Text:
    """Returns the rank in recall, and by how much reranking has moved the hit."""
    if recalled is None:
        return Text("-")
    moved = recalled - place
    if moved == 0:
        return Text(f"{recalled}  =")
    return Text(f"{recalled} {'↑' if moved > 0 else '↓'}{abs(moved)}", style="green" if moved > 0 else "red")


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT_CHARACTERS else line[:EXCERPT_CHARACTERS].rstrip() + "…"


def _footer(answer: dict[str, Any]) -> str:
    timings, recall, rerank = answer["timings_ms"], answer["recall"], answer["rerank"]
    stages = f"embed {timings['embed']:.0f} ms, {recall['mode']} recall {timings['recall']:.0f} ms"
    if recall["reason"]:
        stages += f" ({recall['reason']})"
    if rerank["applied"]:
        stages += f", rerank of {rerank['scored']} {timings['rerank']:.0f} ms"
        if rerank["reason"]:
            stages += f" ({rerank['reason']}: {rerank['candidates'] - rerank['scored']} not reranked)"
    else:
        stages += f"; not reranked: {rerank['reason']}"
    cut = answer["truncated_query_tokens"]
    return stages + (f"; the query was cut by {cut} tokens" if cut else "")
