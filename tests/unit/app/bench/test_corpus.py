import json
from pathlib import Path

from app.cli.bench.load.corpus import QUESTION, DatasetCorpus, MadeUpCorpus, corpus_of
from app.cli.bench.load.words import QUESTION_WORDS, WORDS
from retrieval.evaluation.datasets import Dataset, Passage
from retrieval.search.language import is_foreign


def judged(folder: Path) -> DatasetCorpus:
    passages = (Passage("a", "", "No title."), Passage("b", "Ships", "With a title."))
    return DatasetCorpus(folder, Dataset("two", "en", passages, 0, {"q": "where?", "r": "when?"}, ()))


def test_texts_are_as_long_as_asked_and_of_both_languages() -> None:
    text = MadeUpCorpus(words=300).document(0)["text"]
    assert len(text.split()) == 300
    words = set(text.replace(".", "").split())
    assert words <= set(WORDS)
    assert any("\u4e00" <= word[0] <= "\u9fff" for word in words)


def test_no_two_documents_or_queries_begin_alike() -> None:
    corpus = MadeUpCorpus(words=50)
    texts = [corpus.document(number)["text"] for number in range(500)]
    queries = [corpus.query(number) for number in range(500)]
    assert len({" ".join(text.split()[:4]) for text in texts}) == 500
    assert len({" ".join(query.split()[:4]) for query in queries}) == 500
    assert len({corpus.document(number)["id"] for number in range(500)}) == 500


def test_questions_are_english() -> None:
    query = MadeUpCorpus(words=50).query(7)
    assert len(query.split()) == QUESTION
    assert not is_foreign(query, ["en"])
    assert set(QUESTION_WORDS) < set(WORDS)


def test_the_same_seed_and_number_make_the_same_text_in_every_process() -> None:
    corpus = MadeUpCorpus(words=6, seed=5)
    again = corpus_of(json.loads(json.dumps(corpus.spec())))
    assert again.document(3) == corpus.document(3)
    assert MadeUpCorpus(words=6, seed=6).document(3) != corpus.document(3)
    assert corpus.document(3) != corpus.document(4)


def test_documents_of_a_folder_come_again_with_another_beginning(tmp_path: Path) -> None:
    corpus = judged(tmp_path)
    assert [corpus.document(number) for number in range(4)] == [
        {"id": "0.a", "title": "", "text": "No title."},
        {"id": "0.b", "title": "Ships", "text": "With a title."},
        {"id": "1.a", "title": "", "text": "1. No title."},
        {"id": "1.b", "title": "1. Ships", "text": "With a title."},
    ]
    assert [corpus.query(number) for number in range(3)] == ["where?", "when?", "1. where?"]
    assert corpus.size == 2
