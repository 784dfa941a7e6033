"""BM25 in Milvus Lite's process: the words of retrieval.text.words, and the statistics of the whole collection. Lite
itself has neither, and weighs a word by its frequency in a single file.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import Stemmer
from milvus_lite.analyzer import factory
from milvus_lite.analyzer.hash import term_to_id
from milvus_lite.analyzer.protocol import Analyzer
from milvus_lite.engine.collection import Collection
from milvus_lite.engine.projection import build_projection_plan
from milvus_lite.exceptions import SchemaValidationError
from milvus_lite.function.expr.bm25_expr import BM25Expr

from retrieval.stores.milvus.schema import ANY_WORDS, BM25_B, BM25_K1, WORDS
from retrieval.stores.milvus_lite.child.rows import Source, hit, sources
from retrieval.text.words import ENGLISH_STOP_WORDS, of_query, of_text

_PAIRS = np.dtype([("term", "<u4"), ("count", "<f4")])
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# Tokens that are longer than any word are indexed in pieces.
_RUNS = re.compile(rf"[{_HAN}]+|[^\W{_HAN}]{{1,64}}")
_WORDS = re.compile(r"\w{1,64}")
_IS_HAN = re.compile(rf"[{_HAN}]")
_KNOWN_WORDS = 200_000

_Rows = npt.NDArray[np.int64]
_Scores = npt.NDArray[np.float64]


def install() -> None:
    factory.create_analyzer = analyzer_of
    BM25Expr.execute = _count_words
    Collection._search_sparse = _search_sparse


def analyzer_of(params: Mapping[str, Any] | None = None) -> "Words":
    """Returns the analyzer of a collection, by the parameters in its schema."""
    tokenizer = (params or {}).get("tokenizer", "")
    if not isinstance(tokenizer, str) or not tokenizer.startswith(ANY_WORDS):
        return ServerWords(params or {})
    return Words() if tokenizer == WORDS else LaterWords(tokenizer)


class Words(Analyzer):  # type: ignore[misc]
    """Counts the words of retrieval.text.words."""

    def __init__(self) -> None:
        # The hash is computed in Python, letter by letter, so that remembering words saves most of the time.
        self._id = lru_cache(_KNOWN_WORDS)(term_to_id)

    def tokenize(self, text: str) -> list[str]:
        return of_text(text)

    def analyze(self, text: str) -> list[int]:
        return [self._id(word) for word in self.tokenize(text)]

    def analyze_query(self, text: str) -> list[int]:
        return [self._id(word) for word in of_query(text)]


class LaterWords(Words):
    """Stands for the words of a later release: such data can be opened, but neither searched by words nor added to."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def analyze(self, text: str) -> list[int]:  # noqa: ARG002
        raise SchemaValidationError(
            f"the collection counts words as another release of Tandem does ({self._name}, not {WORDS}); use that "
            "release, or fill the collection anew"
        )

    analyze_query = analyze


class ServerWords(Words):
    """Counts the words of collections of earlier releases: a tokenizer and filters, with the names and parameters of a
    Milvus server: `standard` or `jieba`; `lowercase` (always on), `stop`, `stemmer` for English.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__()
        self._cut_han = None
        if params.get("tokenizer") == "jieba":
            import jieba  # takes a second, and other collections do without

            self._cut_han = jieba.cut_for_search
        stop: set[str] = set()
        stemmed = False
        for each in params.get("filter", ()):
            kind = each if isinstance(each, str) else each["type"]
            if kind == "stop":
                for word in each["stop_words"]:
                    stop |= ENGLISH_STOP_WORDS if word == "_english_" else {word.lower()}
            stemmed |= kind == "stemmer"
        stem = Stemmer.Stemmer("english", 0).stemWord if stemmed else str
        self._term = lru_cache(_KNOWN_WORDS)(lambda word: None if word in stop else self._id(stem(word)))

    def tokenize(self, text: str) -> list[str]:
        text = text.lower()
        if self._cut_han is None:
            return _WORDS.findall(text)
        words: list[str] = []
        for run in _RUNS.findall(text):
            if _IS_HAN.match(run):
                words.extend(self._cut_han(run))
            else:
                words.append(run)
        return words

    def analyze(self, text: str) -> list[int]:
        terms = map(self._term, self.tokenize(text))
        return [term for term in terms if term is not None]

    analyze_query = analyze


def _count_words(self: Any, context: Any, inputs: Sequence[Sequence[str]]) -> list[list[bytes]]:  # noqa: ARG001
    """Replaces BM25Expr.execute: returns each text's pairs of term and count, ascending, in Lite's storage format."""
    (texts,) = inputs
    terms = [self._analyzer.analyze(text) for text in texts]
    rows = np.repeat(np.arange(len(texts), dtype=np.uint64), [len(each) for each in terms])
    found, counts = np.unique(rows << 32 | np.fromiter(chain(*terms), np.uint64, len(rows)), return_counts=True)
    pairs = np.empty(len(found), _PAIRS)
    pairs["term"], pairs["count"] = found & 0xFFFFFFFF, counts
    ends = np.searchsorted(found, np.arange(1, len(texts), dtype=np.uint64) << 32)
    return [[part.tobytes() for part in np.split(pairs, ends)]]


@dataclass(slots=True)
class Postings:
    """Maps words to the rows that contain them and the number of occurrences."""

    terms: npt.NDArray[np.uint32]
    """Each once, ascending."""
    starts: _Rows
    """Start of each term's entries, and the end of the last."""
    rows: _Rows
    counts: npt.NDArray[np.float32]
    lengths: _Scores
    """Words of each row."""

    @classmethod
    def of(cls, packed: Sequence[bytes]) -> "Postings":
        """Builds postings from each row's pairs of term and count, in Lite's storage format."""
        pairs = np.frombuffer(b"".join(packed), dtype=_PAIRS)
        rows = np.repeat(np.arange(len(packed)), [len(each) // _PAIRS.itemsize for each in packed])
        order = np.argsort(pairs["term"], kind="stable")
        terms, starts = np.unique(pairs["term"][order], return_index=True)
        lengths = np.bincount(rows, weights=pairs["count"], minlength=len(packed)).astype(np.float64)
        return cls(terms, np.append(starts, len(order)), rows[order], pairs["count"][order], lengths)

    def entries(self, term: int) -> tuple[_Rows, npt.NDArray[np.float32]]:
        place = int(np.searchsorted(self.terms, term))
        if place == len(self.terms) or self.terms[place] != term:
            return self.rows[:0], self.counts[:0]
        span = slice(self.starts[place], self.starts[place + 1])
        return self.rows[span], self.counts[span]


def _search_sparse(
    self: Any,
    query_vectors: Sequence[str],
    vector_field: str,
    top_k: int,
    metric_type: str,  # noqa: ARG001
    partition_names: Sequence[str] | None,
    expr: str | None,
    output_fields: Sequence[str] | None,
    timezone: str | None = None,
) -> list[list[dict[str, Any]]]:
    """Replaces Collection._search_sparse, for texts only. Distances are negative scores, as in the original.

    The index's parameters are ignored: pymilvus sends them in a form that Lite ignores as well.
    """
    fields = build_projection_plan(output_fields, self._schema, api_kind="search").engine_fields
    compiled = self._compile_filter(expr, timezone=timezone) if expr else None
    segments, deleted = self._read_snapshot()
    plan = self._indexed_filter_plan(compiled)
    looked_at = [
        (source, _postings(source, vector_field))
        for source in sources(segments, deleted, self._memtable, partition_names, compiled, plan)
    ]
    count = sum(np.count_nonzero(source.live) for source, _ in looked_at)
    mean = sum(postings.lengths[source.live].sum() for source, postings in looked_at) / max(count, 1)
    results = []
    analyzer: Words = self._bm25_analyzers[vector_field]
    for query in (Counter(analyzer.analyze_query(text)) for text in query_vectors):
        scores = [np.zeros(len(source.live)) for source, _ in looked_at]
        for term, weight in query.items():
            entries = [postings.entries(term) for _, postings in looked_at]
            holding = sum(
                np.count_nonzero(source.live[rows]) for (source, _), (rows, _) in zip(looked_at, entries, strict=True)
            )
            idf = np.log((count - holding + 0.5) / (holding + 0.5) + 1)
            for (_, postings), score, (rows, counts) in zip(looked_at, scores, entries, strict=True):
                length = postings.lengths[rows] / mean
                score[rows] += (
                    weight * idf * counts * (BM25_K1 + 1) / (counts + BM25_K1 * (1 - BM25_B + BM25_B * length))
                )
        found = [
            (float(score[row]), source, int(row))
            for (source, _), score in zip(looked_at, scores, strict=True)
            for row in _best(np.where(source.selected, score, 0), top_k)
        ]
        found.sort(key=lambda each: -each[0])
        results.append([hit(self._pk_name, -score, source, row, fields) for score, source, row in found[:top_k]])
    return results


def _postings(source: Source, field: str) -> Postings:
    """Returns the postings of a file, built once."""
    kept = {} if source.segment is None else source.segment.sparse_indexes
    if field not in kept:
        kept[field] = Postings.of(source.table.column(field).to_pylist())
    postings: Postings = kept[field]
    return postings


def _best(scores: _Scores, limit: int) -> _Rows:
    """Returns the rows with a score, at most `limit`; ties in row order."""
    found = np.flatnonzero(scores > 0)
    return found[np.argsort(-scores[found], kind="stable")[:limit]]
