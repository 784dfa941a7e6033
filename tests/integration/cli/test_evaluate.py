"""tandem eval against a node with a real store; what its models say is not the subject."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest
from typer.testing import CliRunner, Result

from app.cli import main as cli
from app.main import create_app
from app.node.node import Components
from app.settings import Settings
from retrieval.errors import EngineDead, Unsupported
from retrieval.types import Candidate, StoreName
from tests.support.models.fake_models import FakeEmbedder, FakeReranker
from tests.support.nodes.listening import listening
from tests.support.nodes.node import real_but_for

Evaluate = Callable[..., "asyncio.Future[Result]"]
ROWS = ["BM25", "+ rerank", "dense", "+ rerank", "hybrid", "+ rerank"]


@pytest.fixture(scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[str, Components]]:
    """Address and components."""
    folder = tmp_path_factory.mktemp("node")
    components = real_but_for(FakeEmbedder(), FakeReranker(), folder)
    async with listening(create_app(Settings(data_dir=folder, selftest_margin=False), components)) as served:
        yield served.url, components


@pytest.fixture
def evaluate(node: tuple[str, Components]) -> Evaluate:
    """`tandem eval` with more arguments, in a thread of its own."""
    arguments = ["eval", "--url", node[0]]
    return lambda *more: asyncio.ensure_future(
        asyncio.to_thread(partial(CliRunner().invoke, cli.app, [*arguments, *map(str, more)]))
    )


def write(folder: Path, *, documents: int = 120, queries: int = 12) -> Path:
    """A judged collection: the query with a number wants the document with it, and a little the next one."""
    folder.mkdir()
    texts = [f"Passage {number} speaks of harbour number {number}." for number in range(documents)]
    rows = [{"_id": f"d{number}", "title": "", "text": text} for number, text in enumerate(texts)]
    rows.append({"_id": "silent", "title": "", "text": " "})
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = [{"_id": f"q{number}", "text": f"harbour number {number}"} for number in range(queries)]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, asked)))
    judged = [f"q{number}\td{number}\t2\nq{number}\td{number + 1}\t1" for number in range(queries)]
    (folder / "qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]))
    return folder


async def scratch_collections(url: str) -> list[str]:
    async with httpx.AsyncClient(base_url=url) as http:
        names = [each["name"] for each in (await http.get("/collections")).json()["collections"]]
    return [name for name in names if name.startswith("eval_")]


def labels(output: str) -> list[str]:
    return re.findall(r"^ *(BM25|dense|hybrid|\+ rerank)  ", output, re.MULTILINE)


async def test_tables_json_and_figure_of_two_collections(
    evaluate: Evaluate, node: tuple[str, Components], tmp_path: Path
) -> None:
    folders = [write(tmp_path / "ships"), write(tmp_path / "boats-2", documents=30, queries=5)]
    output, plot = tmp_path / "run.json", tmp_path / "figure.png"
    result = await evaluate(*folders, "--json", output, "--plot", plot, "--candidates", 20)
    assert result.exit_code == 0, result.output
    lines = [line.strip() for line in result.output.splitlines()]
    assert "ships: ingesting 120 documents (1 more have no text and are left out)" in lines
    assert "ships: 120 documents, 12 queries" in lines
    assert labels(result.output) == 2 * ROWS
    assert plot.stat().st_size > 10_000

    run = json.loads(output.read_text())
    assert [each["name"] for each in run["collections"]] == ["ships", "boats-2"]
    ships = run["collections"][0]
    assert (ships["documents"], ships["left_out"], ships["chunks"], ships["judgements"]) == (120, 1, 120, 24)
    assert ships["models"] == {"embed": "fake-embedder", "rerank": "fake-reranker"}
    assert ships["fingerprint"]["model"] == "fake-embedder"
    assert ships["store"].startswith("milvus-lite")
    assert [(row["mode"], row["pool"]) for row in ships["rows"]] == [
        (mode, pool) for mode in ("sparse", "dense", "hybrid") for pool in (None, 20)
    ]
    for row in ships["rows"]:
        assert row["queries"].keys() == {f"q{number}" for number in range(12)}
        assert ("Recall@100" in row["measures"]) == (row["pool"] is None)
        assert ("rerank" in row["latency_ms"]) == (row["pool"] is not None)
        assert ("embed" in row["latency_ms"]) == (row["mode"] != "sparse")
        assert row["measures"]["nDCG@10"] > 0.5
    assert await scratch_collections(node[0]) == []


async def test_comparing_with_an_earlier_run(evaluate: Evaluate, tmp_path: Path) -> None:
    folder, output = write(tmp_path / "ships", documents=20, queries=10), tmp_path / "run.json"
    assert (await evaluate(folder, "--json", output)).exit_code == 0
    same = await evaluate(folder, "--compare", output, "--fail-if-worse")
    assert same.exit_code == 0, same.output
    assert "No row is significantly worse." in same.output

    run = json.loads(output.read_text())
    for query in run["collections"][0]["rows"][2]["queries"].values():
        query["measures"]["nDCG@10"] += 0.2
    output.write_text(json.dumps(run))
    told = await evaluate(folder, "--compare", output)
    assert (told.exit_code, "Worse: dense, nDCG@10" in told.output) == (0, True)
    assert (await evaluate(folder, "--compare", output, "--fail-if-worse")).exit_code == 1


async def test_one_mode_with_variants(
    evaluate: Evaluate, node: tuple[str, Components], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    search_text = node[1].store.search_text

    async def heard(collection: StoreName, text: str, **which: Any) -> Sequence[Candidate]:
        asked.append(text)
        return await search_text(collection, text, **which)

    monkeypatch.setattr(node[1].store, "search_text", heard)
    folder, plain = write(tmp_path / "ships", documents=20, queries=2), tmp_path / "plain.json"
    assert (await evaluate(folder, "--mode", "sparse", "--json", plain)).exit_code == 0
    assert set(asked) == {"harbour number 0", "harbour number 1"}
    result = await evaluate(folder, "--mode", "sparse", "--variants", "--compare", plain)
    assert result.exit_code == 0, result.output
    assert labels(result.output)[:2] == ["BM25", "+ rerank"]
    assert "dense" not in labels(result.output)
    assert {"harbour 0", "harbour 1"} < set(asked)
    assert "variants: none → machine-made" in result.output


async def test_a_server_without_bm25(
    evaluate: Evaluate, node: tuple[str, Components], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def search_text(*_: object, **__: object) -> NoReturn:
        raise Unsupported("This server is too old for BM25.")

    monkeypatch.setattr(node[1].store, "search_text", search_text)
    result = await evaluate(write(tmp_path / "ships", documents=20))
    assert result.exit_code == 0, result.output
    assert "No BM25, and so no hybrid search: This server is too old for BM25." in result.output
    assert labels(result.output) == ["dense", "+ rerank"]


async def test_what_fails_leaves_no_collection(
    evaluate: Evaluate, node: tuple[str, Components], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node[1].reranker, "fail_with", EngineDead("gone"))
    result = await evaluate(write(tmp_path / "ships", documents=20))
    assert result.exit_code == 1
    assert "Reranking was not applied: engine_dead" in result.stderr
    assert await scratch_collections(node[0]) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--plot", "figure.pdf"), "give a name that ends with .png or .svg"),
        (("--json", "nowhere/run.json"), "there is no folder nowhere"),
        (("--compare", "nowhere.json"), "nowhere.json: cannot be read"),
        (("--fail-if-worse",), "wants --compare"),
    ],
)
async def test_wrong_arguments_are_refused_before_any_work(
    evaluate: Evaluate, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    result = await evaluate(tmp_path / "missing", *arguments)
    assert result.exit_code
    assert words in result.output


async def test_folders_of_one_name_are_refused(evaluate: Evaluate, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    result = await evaluate(write(tmp_path / "ships"), write(tmp_path / "other" / "ships"))
    assert "same name" in result.stderr
