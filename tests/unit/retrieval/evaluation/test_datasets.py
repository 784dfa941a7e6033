import json
from pathlib import Path

import pytest

from retrieval.errors import InvalidRequest
from retrieval.evaluation.datasets import Passage, load_dataset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    documents = [{"_id": f"d{n}", "title": "", "text": f"text {n}"} for n in range(12)]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, documents)))
    queries = [{"_id": "q1", "text": "one"}, {"_id": "q2", "text": "two"}, {"_id": "unjudged", "text": "three"}]
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t1\n")
    return tmp_path


def test_only_judged_queries_are_asked(folder: Path) -> None:
    dataset = load_dataset(folder)
    assert dataset.queries == {"q1": "one", "q2": "two"}
    assert len(dataset.passages) == 12
    assert (dataset.language, dataset.left_out) == ("mixed", 0)


def test_the_small_queries_are_preferred_and_the_language_is_read(folder: Path) -> None:
    (folder / "queries.small.jsonl").write_text(json.dumps({"_id": "q2", "text": "two"}))
    (folder / "meta.json").write_text('{"lang": "zh"}')
    dataset = load_dataset(folder)
    assert (list(dataset.queries), len(dataset.qrels), dataset.language) == (["q2"], 1, "zh")
    assert len(load_dataset(folder, queries="queries.jsonl").queries) == 2


def test_beirs_own_place_for_judgements_and_files_with_no_header_and_a_byte_order_mark(folder: Path) -> None:
    (folder / "qrels.tsv").unlink()
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("\ufeffq1\td1\t1\r\n\r\nq2\td2\t1\r\n", encoding="utf-8")
    assert [(each.query_id, each.doc_id) for each in load_dataset(folder).qrels] == [("q1", "d1"), ("q2", "d2")]


def test_grades_are_kept_and_a_query_without_a_relevant_document_is_not_asked(folder: Path) -> None:
    (folder / "qrels.tsv").write_text("h\th\th\nq1\td1\t3\nq1\td2\t0\nq2\td2\t0\nq2\td3\t-1\n")
    dataset = load_dataset(folder)
    assert list(dataset.queries) == ["q1"]
    assert [each.relevance for each in dataset.qrels] == [3, 0]


def test_a_title_stands_for_a_missing_text_and_without_either_a_document_is_left_out(folder: Path) -> None:
    rows = [
        {"_id": "d1", "title": "A title", "text": " "},
        {"_id": "d2", "title": None, "text": None},
        {"_id": "d3", "text": "Text"},
    ]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    dataset = load_dataset(folder)
    assert dataset.passages == (Passage("d1", "", "A title"), Passage("d3", "", "Text"))
    assert dataset.left_out == 1
    assert dataset.queries.keys() == {"q1", "q2"}


def test_the_digest_changes_with_a_judgement_and_with_nothing_else(folder: Path) -> None:
    before = load_dataset(folder).digest()
    assert load_dataset(folder).digest() == before
    (folder / "qrels.tsv").write_text("h\th\th\nq1\td1\t1\nq2\td3\t1\n")
    assert load_dataset(folder).digest() != before


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("corpus.jsonl", "\n", "corpus.jsonl: holds no document with text"),
        ("corpus.jsonl", '{"_id": "d", "text": ""}', "corpus.jsonl: holds no document with text"),
        ("corpus.jsonl", '{"_id": "d"}', "corpus.jsonl, line 1: needs '_id' and 'text'"),
        ("corpus.jsonl", "[1]", "corpus.jsonl, line 1: needs '_id' and 'text'"),
        ("corpus.jsonl", '{"_id": 1, "text": "a"}\n\n{', "corpus.jsonl, line 3: not JSON"),
        (
            "corpus.jsonl",
            '{"_id": 1, "text": "a"}\n{"_id": "1", "text": "b"}',
            "line 2: the id '1' is already in line 1",
        ),
        ("corpus.jsonl", '{"_id": "d1", "text": "a"}', "qrels.tsv, line 3: the corpus has no document 'd2'"),
        (
            "queries.jsonl",
            '{"_id": "q1", "text": "a"}\n{"_id": "q1", "text": "b"}',
            "queries.jsonl, line 2: the id 'q1'",
        ),
        ("queries.jsonl", '{"_id": "q1", "text": " "}', "queries.jsonl, line 1: 'q1' has no text"),
        ("qrels.tsv", "q\td\ts\nq1\td1\tmany\n", "qrels.tsv, line 2: expected query id, document id and an integer"),
        ("qrels.tsv", "q1 0 d1 1\n", "qrels.tsv, line 1: expected query id"),
        ("qrels.tsv", "q1\td1\t1\nq1\td1\t2\n", "line 2: the same query and document are already in line 1"),
        ("qrels.tsv", "q\td\ts\n", "qrels.tsv: has no relevant document for any query of"),
        ("meta.json", "[]", "meta.json: not a JSON object"),
    ],
)
def test_broken_files_are_named(folder: Path, file: str, content: str, words: str) -> None:
    (folder / file).write_text(content)
    with pytest.raises(InvalidRequest, match=words):
        load_dataset(folder)


def test_a_file_of_another_encoding_is_named(folder: Path) -> None:
    (folder / "corpus.jsonl").write_bytes('{"_id": "d", "text": "战国"}'.encode("gb18030"))
    with pytest.raises(InvalidRequest, match=r"corpus\.jsonl: not UTF-8"):
        load_dataset(folder)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"corpus\.jsonl: cannot be read"):
        load_dataset(tmp_path)


def test_what_judgements_say_of_queries_that_are_not_asked_does_not_matter(folder: Path) -> None:
    with (folder / "qrels.tsv").open("a") as qrels:
        qrels.write("other\tnowhere\t1\n")
    assert load_dataset(folder).queries.keys() == {"q1", "q2"}
