"""Search through HTTP where a part is missing or a right is: the answer always says so."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from retrieval.errors import EngineDead, EngineFailed
from retrieval.types import Lane, StoreCapabilities
from tests.support.nodes.node import NodeUnderTest, running
from tests.support.waiting import until

WORDS = [f"Passage {number} speaks of lanterns and of harbour number {number}." for number in range(8)]


@pytest.fixture(scope="module")
async def filled(node: NodeUnderTest) -> NodeUnderTest:
    await node.http.post("/collections", json={"name": "harbour"})
    await node.ingest(
        *(
            {"id": f"p{number}", "text": text, "partition": "odd" if number % 2 else "even"}
            for number, text in enumerate(WORDS)
        ),
        collection="harbour",
    )
    return node


async def test_both_stages_show_in_every_hit(filled: NodeUnderTest) -> None:
    answer = await filled.search("harbour number 3", collection="harbour", top_k=4)
    assert answer["score_name"] == "rerank"
    assert answer["rerank"]["applied"] is True
    assert (answer["rerank"]["candidates"], answer["rerank"]["scored"]) == (8, 8)
    assert len(answer["hits"]) == 4
    assert answer["hits"][0]["document_id"] == "p3"
    assert [hit["ranks"]["rerank"] for hit in answer["hits"]] == [1, 2, 3, 4]
    stages = {"dense", "sparse", "fused", "rerank"}
    assert all(hit["scores"].keys() == hit["ranks"].keys() == stages for hit in answer["hits"])
    assert answer["recall"] == {
        "mode": "hybrid",
        "candidates": 8,
        "reason": None,
        "weights": {"dense": 1.0, "sparse": 1.0},
    }
    assert answer["models"] == {"embed": "fake-embedder", "rerank": "fake-reranker"}
    assert answer["request_id"]


@pytest.mark.parametrize("mode", ["dense", "sparse"])
async def test_one_branch_alone(filled: NodeUnderTest, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if mode == "sparse":
        monkeypatch.setattr(filled.embedder, "fail_with", EngineDead("nobody needs it"))
    answer = await filled.search("number 3 lanterns", collection="harbour", mode=mode, rerank=False, top_k=8)
    assert answer["recall"] == {"mode": mode, "candidates": 8, "reason": None, "weights": None}
    assert answer["score_name"] == mode
    assert [hit["ranks"] for hit in answer["hits"]] == [{mode: rank} for rank in range(1, 9)]
    assert all(hit["scores"] == {mode: hit["score"]} for hit in answer["hits"])
    assert answer["hits"][0]["document_id"] == "p3"


async def test_weights_decide_which_branch_is_heard(filled: NodeUnderTest) -> None:
    for method in ("weighted", "rrf"):
        for branch in ("dense", "sparse"):
            fusion = {"method": method, "weights": {"dense": 0, "sparse": 0} | {branch: 2}}
            question = {"collection": "harbour", "rerank": False, "top_k": 8}
            both = await filled.search("lanterns number 5", mode="hybrid", fusion=fusion, **question)
            one = await filled.search("lanterns number 5", mode=branch, **question)
            # Of equal scores any may come first.
            assert [hit["scores"][branch] for hit in both["hits"]] == [hit["score"] for hit in one["hits"]]


async def test_wrong_modes_and_weights_are_refused(node: NodeUnderTest) -> None:
    for wrong in (
        {"mode": "both"},
        {"fusion": {"weights": {"dense": 0, "sparse": 0}}},
        {"fusion": {"weights": {"dense": -1}}},
        {"fusion": {"k": 0}},
        {"fusion": {"method": "best"}},
    ):
        answer = await node.http.post("/search", json={"query": "x", **wrong})
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("error", [EngineDead("gone"), EngineFailed("spoilt")])
async def test_without_an_embedder_words_find_and_the_answer_says_so(
    filled: NodeUnderTest, monkeypatch: pytest.MonkeyPatch, error: EngineDead | EngineFailed
) -> None:
    monkeypatch.setattr(filled.embedder, "fail_with", error)
    answer = await filled.search("harbour number 3", collection="harbour", top_k=3)
    assert answer["recall"] == {"mode": "sparse", "candidates": 8, "reason": error.code, "weights": None}
    assert answer["hits"][0]["document_id"] == "p3"
    for mode in ("dense", "hybrid"):
        refused = await filled.http.post("/search", json={"query": "x", "collection": "harbour", "mode": mode})
        assert refused.json()["error"]["code"] == error.code


async def test_a_store_without_bm25_says_so(filled: NodeUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled.components.store

    async def capabilities() -> StoreCapabilities:
        return StoreCapabilities("milvus", "2.3.5", sparse=False, sparse_missing="No BM25 here.")

    monkeypatch.setattr(store, "capabilities", capabilities)
    answer = await filled.search("harbour", collection="harbour")
    assert answer["recall"] == {"mode": "dense", "candidates": 8, "reason": "no_sparse_index", "weights": None}


async def test_a_language_that_the_models_cannot_read_is_left_to_words(filled: NodeUnderTest) -> None:
    """The node of the tests has the profile of all-MiniLM-L6-v2, which knows English."""
    question = {"query": "\u6e2f\u53e3 harbour \u7684\u706f", "collection": "harbour", "top_k": 3}
    answer = await filled.search(**question)
    assert answer["recall"] == {"mode": "sparse", "candidates": 8, "reason": "model_language", "weights": None}
    assert (answer["rerank"]["applied"], answer["rerank"]["reason"]) == (False, "model_language")
    asked_for = await filled.search(**question, mode="hybrid", rerank=True)
    assert (asked_for["recall"]["mode"], asked_for["rerank"]["applied"]) == ("hybrid", True)


async def test_candidates_bound_the_pool(filled: NodeUnderTest) -> None:
    answer = await filled.search("harbour", collection="harbour", top_k=2, candidates=5)
    assert (answer["rerank"]["candidates"], len(answer["hits"])) == (5, 2)


async def test_a_search_stays_in_its_partition(filled: NodeUnderTest) -> None:
    answer = await filled.search("harbour number", collection="harbour", partition="odd")
    assert {hit["document_id"] for hit in answer["hits"]} == {"p1", "p3", "p5", "p7"}
    assert not (await filled.search("harbour", collection="harbour", partition='odd" or 1 == 1'))["hits"]


async def test_an_empty_collection_answers_nothing(node: NodeUnderTest) -> None:
    name = f"empty_{uuid4().hex[:8]}"
    await node.http.post("/collections", json={"name": name})
    answer = await node.search("anything", collection=name)
    assert (answer["hits"], answer["rerank"]["reason"]) == ([], "no_candidates")


@pytest.mark.parametrize("error", [EngineDead("gone"), EngineFailed("spoilt")])
async def test_a_reranker_that_fails_is_said_and_recall_order_stands(
    filled: NodeUnderTest, monkeypatch: pytest.MonkeyPatch, error: EngineDead | EngineFailed
) -> None:
    monkeypatch.setattr(filled.reranker, "fail_with", error)
    answer = await filled.search("harbour number 3", collection="harbour", top_k=3)
    assert (answer["rerank"]["applied"], answer["rerank"]["reason"]) == (False, error.code)
    assert answer["rerank"]["scored"] == 0
    assert answer["score_name"] == "fused"
    assert [hit["ranks"]["fused"] for hit in answer["hits"]] == [1, 2, 3]
    ready = await filled.http.get("/health/ready")
    assert ready.status_code == 503
    assert ready.json()["checks"]["reranker"]["ok"] is False


async def test_a_dead_embedder_is_503_with_retry_after(filled: NodeUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filled.embedder, "fail_with", EngineDead("The engine died"))
    answer = await filled.http.post("/search", json={"query": "x", "collection": "harbour", "mode": "dense"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_dead")
    assert int(answer.headers["retry-after"]) > 0


async def test_ingestion_waits_for_a_dead_embedder_and_loses_nothing(
    filled: NodeUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filled.embedder, "fail_with", EngineDead("The engine died"))
    accepted = await filled.http.post("/ingest", json={"documents": [{"id": f"late-{uuid4().hex}", "text": "late"}]})
    assert accepted.status_code == 202
    monkeypatch.setattr(filled.embedder, "fail_with", None)
    job_id = accepted.json()["job_id"]

    async def state() -> str:
        return str((await filled.http.get(f"/jobs/{job_id}")).json()["state"])

    for _ in range(600):
        if await state() not in ("queued", "running"):
            break
    assert await state() == "succeeded"


async def test_queries_are_embedded_as_queries_in_the_interactive_lane(
    filled: NodeUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, object]] = []
    embed = filled.embedder.embed

    async def spy(texts: list[str], **arguments: object) -> object:
        seen.append(arguments)
        return await embed(texts, **arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(filled.embedder, "embed", spy)
    await filled.search("harbour", collection="harbour", instruction="Find harbours")
    await filled.ingest({"id": f"lane-{uuid4().hex}", "text": "A lane."})
    assert seen[0] == {"kind": "query", "lane": Lane.INTERACTIVE, "instruction": "Find harbours"}
    assert seen[1] == {"kind": "document", "lane": Lane.BULK, "instruction": None}


async def test_request_ids_are_kept_or_made(node: NodeUnderTest) -> None:
    given = await node.http.get("/health/live", headers={"X-Request-ID": "abc-1"})
    assert given.headers["x-request-id"] == "abc-1"
    made = await node.http.get("/health/live", headers={"X-Request-ID": "no good\tid"})
    assert len(made.headers["x-request-id"]) == 32


async def test_metrics_count_searches_and_stages(filled: NodeUnderTest) -> None:
    await filled.search("harbour", collection="harbour")
    text = (await filled.http.get("/metrics")).text
    assert 'tandem_http_requests_total{route="/search",status="200"}' in text
    assert 'tandem_search_stage_seconds_count{stage="rerank"}' in text
    assert "tandem_ready 1.0" in text


@pytest.fixture(scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeUnderTest]:
    async with running(tmp_path_factory.mktemp("guarded"), api_keys="right,other", max_queued=3) as node:
        yield node


async def test_keys_guard_every_route_but_health(guarded: NodeUnderTest) -> None:
    for method, path in (
        ("POST", "/search"), ("POST", "/ingest"), ("GET", "/jobs/x"), ("GET", "/documents"), ("DELETE", "/documents/x"),
        ("GET", "/collections"), ("POST", "/collections"), ("DELETE", "/collections/docs"), ("GET", "/metrics"),
    ):  # fmt: skip
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            answer = await guarded.http.request(method, path, headers=headers, json={})
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized"), path
    assert (await guarded.http.get("/health/live")).status_code == 200
    assert (await guarded.http.get("/health/ready")).status_code == 200
    answer = await guarded.http.get("/collections", headers={"Authorization": "Bearer other"})
    assert answer.status_code == 200


async def test_a_full_queue_is_429_and_stores_nothing(guarded: NodeUnderTest) -> None:
    headers = {"Authorization": "Bearer right"}
    documents = [{"id": f"d{number}", "text": f"words {number}"} for number in range(4)]
    answer = await guarded.http.post("/ingest", json={"documents": documents}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "overloaded")
    assert int(answer.headers["retry-after"]) > 0
    assert (await guarded.http.get("/documents", headers=headers)).json()["documents"] == []


async def test_the_store_dies_is_told_and_comes_back_with_its_data(guarded: NodeUnderTest, tmp_path: Path) -> None:
    headers = {"Authorization": "Bearer right"}
    body = {"documents": [{"id": "kept", "text": "kept through it all"}], "wait": True}
    assert (await guarded.http.post("/ingest", json=body, headers=headers)).status_code == 200
    store = guarded.components.store
    pid = store._session._endpoint.pid  # type: ignore[attr-defined]  # the child has to be killed from outside
    os.kill(pid, signal.SIGKILL)
    await until(lambda: store.failure is not None)
    answer = await guarded.http.post("/search", json={"query": "kept"}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")
    await until(lambda: store.failure is None)
    answer = await guarded.http.post("/search", json={"query": "kept"}, headers=headers)
    assert [hit["document_id"] for hit in answer.json()["hits"]] == ["kept"]
