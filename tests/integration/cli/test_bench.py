"""tandem bench against a node with a real store; how long anything takes is not the subject."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from app.cli import main as cli
from app.main import create_app
from app.node.node import Components
from app.settings import Settings
from ingestion.errors import ParseFailed
from retrieval.errors import EngineDead
from tests.support.models.fake_models import FakeEmbedder, FakeReranker
from tests.support.nodes.listening import listening
from tests.support.nodes.node import real_but_for

Bench = Callable[..., "asyncio.Future[Result]"]
KEY = "for-the-bench"
SHORT = ("--rate", 20, "--seconds", 2, "--warm-up", 0.3, "--candidates", 5, "--tokens", 30, "--pool", 40)


@pytest.fixture(scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[str, Components]]:
    """Address and components of one that wants a key."""
    folder = tmp_path_factory.mktemp("node")
    components = real_but_for(FakeEmbedder(), FakeReranker(), folder)
    settings = Settings(data_dir=folder, selftest_margin=False, api_keys=KEY)  # type: ignore[arg-type]
    async with listening(create_app(settings, components)) as served:
        yield served.url, components


@pytest.fixture
def bench(node: tuple[str, Components]) -> Bench:
    """`tandem bench` with more arguments, in a thread of its own."""
    return lambda command, *more: asyncio.ensure_future(
        asyncio.to_thread(
            partial(
                CliRunner().invoke,
                cli.app,
                ["bench", command, "--url", node[0], "--api-key", KEY, *map(str, more)],
            )
        )
    )


async def collections(url: str) -> list[str]:
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {KEY}"}) as http:
        return [each["name"] for each in (await http.get("/collections")).json()["collections"]]


async def test_mixed(bench: Bench, node: tuple[str, Components], tmp_path: Path) -> None:
    output, plot = tmp_path / "run.json", tmp_path / "figure.svg"
    result = await bench("mixed", *SHORT, "--rounds", 1, "--json", output, "--plot", plot)
    assert result.exit_code == 0, (result.output, result.exception)
    assert "Both at once over alone: search p50" in result.output
    assert plot.stat().st_size > 5_000

    run = json.loads(output.read_text())
    assert run["machine"]["cores"] > 0
    assert run["node"]["models"] == {"embed": "fake-embedder", "rerank": "fake-reranker"}
    assert (run["asked"]["rate"], run["asked"]["pool"], len(run["rounds"])) == (20, 40, 1)
    assert run["ratios"].keys() == {"search_p50", "search_p99", "search_p99_of_all_rounds", "ingestion"}
    [each] = run["rounds"]
    alone, fed, both = each["stretches"]
    assert [stretch["stretch"] for stretch in each["stretches"]] == ["searches", "ingestion", "both"]
    assert alone["ingestion"] is fed["searches"] is None
    for searches in (alone["searches"], both["searches"]):
        assert searches["errors"] == {}
        assert searches["searches"] == searches["latency_ms"]["count"] == len(searches["samples"]) > 5
        assert all(0 <= sample["due"] < 2 for sample in searches["samples"])
        assert searches["stages_ms"]["rerank"]["count"] == searches["searches"]
    assert [sample["due"] for sample in alone["searches"]["samples"]] == pytest.approx(
        [sample["due"] for sample in both["searches"]["samples"]], abs=0.001
    )
    for ingestion in (fed["ingestion"], both["ingestion"]):
        assert ingestion["texts_per_second"] > 0
        assert ingestion["tokens_per_second"] / ingestion["texts_per_second"] == pytest.approx(30, rel=0.2)
    assert each["ratios"]["ingestion"] == pytest.approx(
        both["ingestion"]["texts_per_second"] / fed["ingestion"]["texts_per_second"], abs=0.01
    )
    assert await collections(node[0]) == ["docs"]


async def test_search(bench: Bench, tmp_path: Path) -> None:
    output = tmp_path / "run.json"
    result = await bench("search", *SHORT, "--arrivals", "fixed", "--one-by-one", 3, "--json", output)
    assert result.exit_code == 0, (result.output, result.exception)
    run = json.loads(output.read_text())
    assert run["asked"]["arrivals"] == "fixed"
    assert run["latency_ms"]["count"] == 40
    assert run["overhead_ms"]["total"] > run["overhead_ms"]["calls"] > 0
    assert "no errors" in result.output


async def test_ingest(bench: Bench, tmp_path: Path) -> None:
    output = tmp_path / "run.json"
    result = await bench("ingest", "--texts", 150, "--tokens", 30, "--rounds", 2, "--json", output)
    assert result.exit_code == 0, (result.output, result.exception)
    run = json.loads(output.read_text())
    assert run["chunks"] == [150, 150]
    assert run["ingest_seconds"]["bare_engine"] is None
    assert len(run["ingest_seconds"]["service"]) == 2
    assert "POST /ingest until every receipt" in result.output


async def test_searches_that_fail_are_counted_and_not_timed(
    bench: Bench, node: tuple[str, Components], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node[1].reranker, "fail_with", EngineDead("gone"))
    output = tmp_path / "run.json"
    result = await bench("search", *SHORT, "--one-by-one", 0, "--json", output)
    assert result.exit_code == 0, (result.output, result.exception)
    run = json.loads(output.read_text())
    assert run["errors"] == {"503 engine_dead": run["searches"]}
    assert run["latency_ms"]["p50"] is None


async def test_documents_that_fail_end_it(
    bench: Bench, node: tuple[str, Components], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def parse(*_: object, **__: object) -> None:
        raise ParseFailed("torn")

    monkeypatch.setattr(node[1].parser, "parse", parse)
    result = await bench("ingest", "--texts", 10, "--tokens", 30)
    assert result.exit_code == 1
    assert "documents failed" in result.output
    assert await collections(node[0]) == ["docs"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("mixed", "--plot", "figure.pdf"), "give a name that ends with .png or .svg"),
        (("search", "--json", "nowhere/run.json"), "there is no folder nowhere"),
        (("mixed", "--dummy-weights", "qwen3-0.6b"), "--dummy-weights cannot be combined"),
        (("mixed", "--pool", "10", "--tokens", "30"), "10 documents are fewer than 50 candidates"),
        (("ingest", "--langchain", "--texts", "1", "--rounds", "1"), "a node that the command starts"),
    ],
)
async def test_what_is_refused(bench: Bench, arguments: tuple[str, ...], words: str) -> None:
    result = await bench(*arguments)
    assert result.exit_code
    assert words in result.output
