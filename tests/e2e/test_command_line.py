"""The whole path as users take it: `tandem serve` in a process of its own with the real minilm models, and the commands
that talk to it. Its engines do not compile: test_qwen3_node has engines that do."""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from app.cli.client.node_client import Client
from app.cli.node.demo import SAMPLES
from langchain_tandem.client import Refused
from tests.support.nodes.served import ServedNode, serving
from tests.support.waiting import wait_until

pytestmark = pytest.mark.many_engines


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedNode]:
    with serving(tmp_path_factory.mktemp("served"), TANDEM_MODELS="minilm", TANDEM_ENFORCE_EAGER="true") as node:
        yield node


@pytest.fixture(scope="module")
def filled(served: ServedNode) -> ServedNode:
    """The node with the handbook in its default collection."""
    files = [file for file in SAMPLES.rglob("*") if file.is_file()]
    told = served.tandem("ingest", str(SAMPLES))
    assert f"{len(files)} ready" in told
    return served


def test_readiness_shows_the_self_test_and_the_store(served: ServedNode) -> None:
    with Client(served.url) as client:
        ready, state = client.ready()
    assert ready
    assert state["store"].startswith("milvus-lite")
    details = [check["detail"] for check in state["self_test"]]
    assert all(check["ok"] for check in state["self_test"])
    assert any(detail.startswith("embed.margin.en") for detail in details)
    assert any(detail.startswith("rerank.margin.en") for detail in details)


def test_ingesting_a_folder_again_changes_nothing(filled: ServedNode) -> None:
    told = filled.tandem("ingest", str(SAMPLES))
    assert re.search(r"^\d+ unchanged: \d+ chunks", told, re.MULTILINE)


def test_search_shows_rank_score_move_title_and_excerpt(filled: ServedNode) -> None:
    shown = filled.tandem("search", "What is checked before the service takes its first question?", "-k", "3")
    assert re.search(r"#\s+blended\s+recall\s+document\s+excerpt", shown)
    first = next(line for line in shown.splitlines() if line.startswith("1 "))
    assert re.match(r"1\s+[01]\.\d{3}\s+\d+\s+([↑↓]\d+|=)", first)
    assert "self-test" in shown.lower()
    assert re.search(r"embed \d+ ms, hybrid recall \d+ ms, rerank of \d+ \d+ ms", shown)


def test_reranking_reorders_and_every_hit_carries_both_scores_and_ranks(filled: ServedNode) -> None:
    with Client(filled.url) as client:
        answer = client.search("Who can see documents of another tenant?", top_k=10, candidates=50)
        # Of the same depth: what a branch did not bring within the pool counts nothing for it.
        plain = client.search("Who can see documents of another tenant?", top_k=49, rerank=False)
    hits = answer["hits"]
    pool = answer["rerank"]["candidates"]
    assert 10 < pool <= 50  # the samples have about as many chunks
    assert answer["rerank"] == {
        "applied": True, "reason": None, "candidates": pool, "scored": pool, "ms": answer["rerank"]["ms"]
    }  # fmt: skip
    assert answer["score_name"] == "blended"
    assert [hit["score"] for hit in hits] == sorted((hit["scores"]["blended"] for hit in hits), reverse=True)
    assert [hit["ranks"]["blended"] for hit in hits] == list(range(1, 11))
    by_rerank = sorted(hits, key=lambda hit: hit["ranks"]["rerank"])
    assert [hit["scores"]["rerank"] for hit in by_rerank] == sorted(
        (hit["scores"]["rerank"] for hit in hits), reverse=True
    )
    weights = {"dense": 1.0, "sparse": 1.0}
    assert answer["recall"] == {"mode": "hybrid", "candidates": pool, "reason": None, "weights": weights}
    assert all(
        0 <= hit[key] <= 1 for hit in (each["scores"] for each in hits) for key in ("blended", "fused", "rerank")
    )
    assert all(hit["scores"].keys() & {"dense", "sparse"} for hit in hits)
    assert [hit["ranks"]["fused"] for hit in hits] != sorted(hit["ranks"]["fused"] for hit in hits)
    assert plain["rerank"]["reason"] == "not_requested"
    assert [hit["ranks"]["fused"] for hit in plain["hits"]] == list(range(1, min(pool, 49) + 1))
    by_rank = {hit["ranks"]["fused"]: hit["chunk_id"] for hit in hits}
    for place, hit in enumerate(plain["hits"], start=1):
        assert by_rank.get(place, hit["chunk_id"]) == hit["chunk_id"]
    assert answer["timings_ms"].keys() == {"embed", "recall", "rerank", "total"}


def test_min_score_follows_the_score_that_means_relevance(filled: ServedNode) -> None:
    with Client(filled.url) as client:
        everything = client.search("backup of the catalog", top_k=20)
        name = everything["relevance_name"]
        scores = sorted((hit["scores"][name] for hit in everything["hits"]), reverse=True)
        # Half way across the widest gap: scores move a little with what else is in an engine step.
        above, below = max(pairwise(scores), key=lambda pair: pair[0] - pair[1])
        bound = (above + below) / 2
        kept = client.search("backup of the catalog", top_k=20, min_score=bound)
    assert {hit["chunk_id"] for hit in kept["hits"]} == {
        hit["chunk_id"] for hit in everything["hits"] if hit["scores"][name] > bound
    }
    assert 0 < len(kept["hits"]) < len(everything["hits"])


def test_a_dead_engine_is_told_of_and_comes_back(filled: ServedNode) -> None:
    with Client(filled.url) as client:
        before = client.search("backup of the catalog", top_k=5)
        [engine] = filled.engines()  # one for vectors and token vectors
        engine.kill()
        wait_until(lambda: not client.ready()[0], seconds=20)
        _, state = client.ready()
        assert {"embedder", "reranker"} <= {name for name, check in state["checks"].items() if not check["ok"]}
        meanwhile = client.search("backup of the catalog", top_k=5)
        assert (meanwhile["rerank"]["applied"], meanwhile["rerank"]["reason"]) == (False, "engine_dead")
        assert (meanwhile["recall"]["mode"], meanwhile["recall"]["reason"]) == ("sparse", "engine_dead")
        assert [hit["ranks"]["sparse"] for hit in meanwhile["hits"]] == [1, 2, 3, 4, 5]
        wait_until(lambda: client.ready()[0], seconds=180)
        after = client.search("backup of the catalog", top_k=5)
    assert after["rerank"]["applied"]
    scores = [[hit["score"] for hit in answer["hits"]] for answer in (after, before)]
    assert scores[0] == pytest.approx(scores[1], abs=0.01)


def test_eval_prints_a_table_and_writes_json(filled: ServedNode, tmp_path: Path) -> None:
    passages = {
        "tides": "The tide rises twice a day because the moon pulls the sea.",
        "bread": "Rye bread keeps fresh for a week in a linen bag.",
        "glass": "Glass is blown at eleven hundred degrees.",
    }
    queries = {"q1": ("Why does the sea rise and fall?", "tides"), "q2": ("How long does bread stay fresh?", "bread")}
    (tmp_path / "corpus.jsonl").write_text(
        "\n".join(json.dumps({"_id": key, "title": "", "text": text}) for key, text in passages.items())
    )
    (tmp_path / "queries.jsonl").write_text(
        "\n".join(json.dumps({"_id": key, "text": text}) for key, (text, _) in queries.items())
    )
    (tmp_path / "qrels.tsv").write_text(
        "query-id\tcorpus-id\tscore\n" + "\n".join(f"{key}\t{answer}\t1" for key, (_, answer) in queries.items())
    )
    output = tmp_path / "figures.json"
    shown = filled.tandem("eval", str(tmp_path), "--url", filled.url, "--json", str(output))
    assert re.search(r"^BM25 +1\.000 .*\n  \+ rerank +1\.000 ", shown, re.MULTILINE)
    (collection,) = json.loads(output.read_text())["collections"]
    rows = collection["rows"]
    assert [row["mode"] for row in rows] == ["sparse", "sparse", "dense", "dense", "hybrid", "hybrid"]
    assert [row["measures"]["nDCG@10"] for row in rows] == [1.0] * 6
    assert collection["chunks"] == 3
    with Client(filled.url) as client:
        assert not [each["name"] for each in client.collections() if each["name"].startswith("eval_")]


def test_errors_are_one_line(served: ServedNode, tmp_path: Path) -> None:
    assert served.tandem("search", " ", expect=4).startswith("tandem: query: ")
    assert "nowhere" in served.tandem("search", "x", "-c", "nowhere", expect=4)
    assert served.tandem("ingest", str(tmp_path / "missing"), expect=2).count("\n") == 1
    assert served.tandem("search", "x", "--url", "http://127.0.0.1:9", expect=3).startswith("tandem: No answer from")


def test_a_second_node_on_the_same_port_is_refused(served: ServedNode) -> None:
    told = served.tandem("serve", "--port", str(served.port), expect=6)
    assert told.splitlines()[-1].startswith(f"tandem: TANDEM_PORT={served.port}: ")


def test_doctor_finds_the_running_node(served: ServedNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_PORT", str(served.port))
    monkeypatch.setenv("TANDEM_DATA_DIR", str(served.folder / "data"))
    shown = served.tandem("doctor")
    assert "a node answers at" in shown
    assert "A node can start here." in shown


def test_refused_answers_carry_the_code(served: ServedNode) -> None:
    with Client(served.url) as client, pytest.raises(Refused) as refused:
        client.job("none")
    assert refused.value.code == "job_not_found"
