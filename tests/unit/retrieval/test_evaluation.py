import json
from pathlib import Path

import pytest

from retrieval.errors import InvalidRequest
from retrieval.evaluation import load_collection, score


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    documents = [{"_id": f"d{n}", "title": "", "text": f"text {n}"} for n in range(12)]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, documents)))
    queries = [{"_id": "q1", "text": "one"}, {"_id": "q2", "text": "two"}, {"_id": "unjudged", "text": "three"}]
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t1\n")
    return tmp_path


def test_only_judged_queries_are_asked(folder: Path) -> None:
    judged = load_collection(folder)
    assert judged.queries == {"q1": "one", "q2": "two"}
    assert len(judged.passages) == 12
    assert judged.language == "mixed"


def test_the_small_queries_are_preferred_and_the_language_is_read(folder: Path) -> None:
    (folder / "queries.small.jsonl").write_text(json.dumps({"_id": "q2", "text": "two"}))
    (folder / "meta.json").write_text('{"lang": "zh"}')
    judged = load_collection(folder)
    assert (list(judged.queries), len(judged.qrels), judged.language) == (["q2"], 1, "zh")
    assert len(load_collection(folder, queries="queries.jsonl").queries) == 2


def test_measures_by_hand(folder: Path) -> None:
    judged = load_collection(folder)
    values = score(judged, {"q1": ["d1", "d3"], "q2": ["d5", "d2"]})
    assert values["MRR@10"] == pytest.approx((1 + 1 / 2) / 2)
    assert values["nDCG@10"] == pytest.approx((1 + 1 / 1.584962500721156) / 2)
    assert values["Recall@10"] == 1


def test_a_query_without_an_answer_counts_as_nought(folder: Path) -> None:
    assert score(load_collection(folder), {"q1": ["d1"]})["nDCG@10"] == pytest.approx(0.5)


def test_the_order_given_is_the_order_measured(folder: Path) -> None:
    judged = load_collection(folder)
    ranking = [f"d{n}" for n in (0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 1)]
    assert score(judged, {"q1": ranking, "q2": ["d2"]})["Recall@10"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("corpus.jsonl", '{"_id": "d"}', "line 1: needs '_id' and 'text'"),
        ("corpus.jsonl", "{", "not JSON lines"),
        ("qrels.tsv", "h\nq1\td1\tmany\n", "wants query id, document id and grade"),
        ("qrels.tsv", "h\n", "0 judged queries"),
    ],
)
def test_broken_files_are_named(folder: Path, file: str, content: str, words: str) -> None:
    (folder / file).write_text(content)
    with pytest.raises(InvalidRequest, match=words):
        load_collection(folder)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"corpus\.jsonl: cannot be read"):
        load_collection(tmp_path)
