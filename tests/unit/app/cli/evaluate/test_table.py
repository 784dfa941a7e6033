"""The table that `tandem eval` prints."""

import re
from io import StringIO

import pytest
from rich.console import Console

from app.cli.evaluate.table import show
from tests.support.docs.evaluated import collection, full_run, row


@pytest.fixture
def console() -> Console:
    """As wide as the narrowest terminal in use."""
    return Console(file=StringIO(), width=80)


def shown(console: Console) -> list[str]:
    assert isinstance(console.file, StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]


def test_six_rows_fit_eighty_columns(console: Console) -> None:
    show(full_run("ships").collections[0], console)
    lines = shown(console)
    assert lines[0] == "ships: 1,372 documents, 3 queries"
    rows = [re.split(r"\s{1,}(?!\+|rerank)", line.strip()) for line in lines[4:10]]
    assert rows == [
        ["BM25", "0.667", "0.667", "0.667", "0.667", "21/22", "-", "5.0/5.9", "-"],
        ["+ rerank", "0.667", "0.667", "-", "0.667", "21/22", "-", "5.0/5.9", "301/302"],
        ["dense", "0.667", "0.667", "0.667", "0.667", "21/22", "8.5/9.4", "5.0/5.9", "-"],
        ["+ rerank", "0.667", "0.667", "-", "0.667", "21/22", "8.5/9.4", "5.0/5.9", "301/302"],
        ["hybrid", "0.667", "0.667", "0.667", "0.667", "21/22", "8.5/9.4", "5.0/5.9", "-"],
        ["+ rerank", "0.667", "0.667", "-", "0.667", "21/22", "8.5/9.4", "5.0/5.9", "301/302"],
    ]
    assert lines[-2:] == ["Embedder: eye", "Reranker: judge"]
    assert "Reranked: the best 50 of recall." in "".join(lines)
    assert "…" not in "".join(lines)


def test_a_server_without_bm25_is_told_of(console: Console) -> None:
    rows = (row("dense", None, (1, 0)), row("dense", 50, (1, 0)))
    show(collection(*rows, name="[red]ships", no_bm25="Milvus 2.3 has no [BM25]."), console)
    lines = shown(console)
    assert lines[0].startswith("[red]ships:")
    assert not [line for line in lines if line.startswith("BM25")]
    assert "No BM25, and so no hybrid search: Milvus 2.3 has no [BM25]." in " ".join(lines)
