"""What this node cannot answer in time is refused at once, through every face that ranks or embeds."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from retrieval.pace import Pace
from tests.support.nodes.node import NodeUnderTest, running

TEXT = "word " * 400


@pytest.fixture(scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeUnderTest]:
    folder: Path = tmp_path_factory.mktemp("slow")
    async with running(folder, search_deadline_seconds=30) as node:
        await node.ingest({"id": "a", "text": TEXT})
        yield node


@pytest.fixture(autouse=True)
def slow(node: NodeUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a thousand tokens a second had been measured a moment ago."""
    monkeypatch.setattr(Pace, "tokens_per_second", property(lambda _: 1000.0))
    monkeypatch.setattr(Pace, "is_older_than", lambda _self, _seconds: False)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/search", {"queries": ["words"] * 32, "candidates": 400}),
        ("/v1/vector_stores/vs_docs/search", {"query": ["words"] * 32, "max_num_results": 50}),
        ("/v1/rerank", {"query": "words", "documents": [TEXT] * 1000}),
        ("/v2/rerank", {"model": "tandem", "query": "words", "documents": [TEXT] * 1000}),
        ("/score", {"text_1": "words", "text_2": [TEXT] * 1000}),
        ("/embed", {"texts": [TEXT] * 256, "kind": "query", "lane": "interactive"}),
        ("/v1/embeddings", {"input": [TEXT] * 256, "input_type": "query"}),
        ("/v1/embeddings", {"input": [[0] * 500] * 256, "input_type": "query", "own_token_ids": True}),
    ],
)
async def test_too_much_for_the_deadline_is_429_before_any_work(
    node: NodeUnderTest, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, object]
) -> None:
    worked = False

    async def work(*_: object, **__: object) -> None:
        nonlocal worked
        worked = True

    monkeypatch.setattr(node.embedder, "embed", work)
    monkeypatch.setattr(node.reranker, "rerank", work)
    refused = await node.http.post(path, json=body)
    assert refused.status_code == 429, refused.text
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert "TANDEM_SEARCH_DEADLINE_SECONDS" in refused.text
    assert not worked


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/search", {"query": "words", "candidates": 400}),
        ("/search", {"query": "words", "top_k": 100, "highlights": 1}),
        ("/search", {"queries": ["words"] * 32, "rerank": False}),
        ("/v1/rerank", {"query": "words", "documents": [TEXT] * 10}),
        ("/embed", {"texts": [TEXT] * 256, "kind": "document", "lane": "bulk"}),
        ("/v1/embeddings", {"input": [TEXT] * 256, "input_type": "document"}),
    ],
)
async def test_an_idle_node_takes_one_search_and_all_bulk_work(
    node: NodeUnderTest, path: str, body: dict[str, object]
) -> None:
    answer = await node.http.post(path, json=body)
    assert answer.status_code == 200, answer.text


async def test_an_old_measurement_is_no_reason_to_refuse(node: NodeUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pace, "is_older_than", lambda _self, _seconds: True)
    answer = await node.http.post("/search", json={"queries": ["words"] * 32, "candidates": 400})
    assert answer.status_code == 200, answer.text
