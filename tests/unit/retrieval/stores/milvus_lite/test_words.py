from struct import pack

from milvus_lite.analyzer.sparse import sparse_to_bytes
from milvus_lite.function.expr.bm25_expr import BM25Expr
from milvus_lite.function.types import STAGE_INGESTION, FuncContext

from retrieval.stores.milvus.schema import WORDS
from retrieval.stores.milvus_lite.child.words import Postings, _count_words, analyzer_of

_OF_ENGLISH = ({"type": "stop", "stop_words": ["_english_"]}, {"type": "stemmer", "language": "english"})
ENGLISH = analyzer_of({"tokenizer": "standard", "filter": ["lowercase", *_OF_ENGLISH]})
MIXED = analyzer_of({"tokenizer": "jieba", "filter": ["lowercase", *_OF_ENGLISH]})
CHINESE = analyzer_of({"tokenizer": "jieba", "filter": ["lowercase"]})


def test_words_meet_in_their_stem_whatever_their_case() -> None:
    assert ENGLISH.analyze("Retrieving DOCUMENTS") == ENGLISH.analyze("retrieved document")
    assert MIXED.analyze("Retrieving DOCUMENTS") == MIXED.analyze("retrieved document")
    assert CHINESE.analyze("documents") != CHINESE.analyze("document")


def test_stop_words_do_not_count() -> None:
    assert ENGLISH.analyze("It is not the one that was") == ENGLISH.analyze("one")
    assert len(CHINESE.analyze("the one")) == 2


def test_chinese_is_cut_into_words_and_english_within_it_into_its_own() -> None:
    assert MIXED.tokenize("向量数据库Milvus的检索") == ["向量", "数据", "据库", "数据库", "milvus", "的", "检索"]
    assert ENGLISH.tokenize("cut-off at 3.5%") == ["cut", "off", "at", "3", "5"]


def test_a_text_without_end_is_indexed_in_pieces() -> None:
    assert max(map(len, MIXED.tokenize("x" * 60_000))) == 64


def test_postings_bring_each_row_that_holds_a_word() -> None:
    packed = [pairs({7: 2, 9: 1}), b"", pairs({9: 4}), pairs({2: 1, 7: 1})]
    postings = Postings.of(packed)
    assert found(postings, 7) == {0: 2, 3: 1}
    assert found(postings, 9) == {0: 1, 2: 4}
    assert found(postings, 8) == found(postings, 100) == {}
    assert postings.lengths.tolist() == [3, 0, 4, 2]
    assert found(Postings.of([]), 7) == {}


def test_words_are_counted_as_lite_counts_them() -> None:
    texts = ["rust and rust and a storm", "", "the", "Sturm 起重机 storm"]
    analyzer = analyzer_of({"tokenizer": WORDS})
    counting = BM25Expr(analyzer)
    [packed] = counting.execute(FuncContext(STAGE_INGESTION), [texts])
    [own] = _count_words(counting, None, [texts])
    assert own == [sparse_to_bytes(counts) for counts in packed]
    assert own[1:3] == [b"", b""]


def pairs(counts: dict[int, int]) -> bytes:
    return b"".join(pack("<If", *pair) for pair in sorted(counts.items()))


def found(postings: Postings, term: int) -> dict[int, float]:
    rows, counts = postings.entries(term)
    return dict(zip(rows.tolist(), counts.tolist(), strict=True))
