"""BM25 in Milvus Lite's process as a Milvus server has it: stop words and stems, and the statistics of the whole
collection. Lite itself passes over those filters, and weighs a word by how rare it is in one of its files."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import Stemmer
from milvus_lite.analyzer import factory
from milvus_lite.analyzer.hash import term_to_id
from milvus_lite.analyzer.protocol import Analyzer
from milvus_lite.constants import ALL_PARTITIONS
from milvus_lite.engine.collection import Collection
from milvus_lite.engine.projection import build_projection_plan, project_record
from milvus_lite.search.filter import evaluate_mask
from milvus_lite.search.indexed_filter import evaluate_segment_filter

from retrieval.stores.milvus_schema import BM25_B, BM25_K1

ENGLISH_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be but by for if in into is it no not of on or such that the their then there these they "
        "this to was will with",
    )
)
"""What `_english_` names on a Milvus server."""

_PAIRS = np.dtype([("term", "<u4"), ("count", "<f4")])
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# What is longer than any word is indexed in pieces.
_RUNS = re.compile(rf"[{_HAN}]+|[^\W{_HAN}]{{1,64}}")
_WORDS = re.compile(r"\w{1,64}")
_IS_HAN = re.compile(rf"[{_HAN}]")
_KNOWN_WORDS = 200_000

_Rows = npt.NDArray[np.int64]
_Scores = npt.NDArray[np.float64]
_Mask = npt.NDArray[np.bool_]


def install() -> None:
    factory.create_analyzer = WordAnalyzer
    Collection._search_sparse = _search_sparse


class WordAnalyzer(Analyzer):  # type: ignore[misc]
    """A tokenizer and filters, by the names and with the parameters of a Milvus server: `standard` or `jieba`;
    `lowercase` (always on), `stop`, `stemmer` for English."""

    def __init__(self, params: Mapping[str, Any] | None = None) -> None:
        params = params or {}
        self._cut_han = None
        if params.get("tokenizer") == "jieba":
            import jieba  # takes a second, and English collections do without

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
        # The hash is computed in Python, letter by letter, so that remembering words saves most of the time.
        self._term = lru_cache(_KNOWN_WORDS)(lambda word: None if word in stop else term_to_id(stem(word)))

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


@dataclass(slots=True)
class Postings:
    """Which rows hold which words how often."""

    terms: npt.NDArray[np.uint32]
    """Each once, ascending."""
    starts: _Rows
    """Of each term's entries, and the end of the last."""
    rows: _Rows
    counts: npt.NDArray[np.float32]
    lengths: _Scores
    """Words of each row."""

    @classmethod
    def of(cls, packed: Sequence[bytes]) -> "Postings":
        """From each row's pairs of term and count, as Lite stores them."""
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


@dataclass(frozen=True, slots=True)
class _Source:
    """Rows of one file, or those not yet in a file."""

    table: pa.Table
    postings: Postings
    live: _Mask
    """Neither deleted nor replaced."""
    asked: _Mask
    """Live, and let through by the filter."""


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
    """In place of Collection._search_sparse, for texts only. Distances are negative scores, as there.

    The index's parameters are not looked at: pymilvus sends them in a form that Lite passes over.
    """
    plan = build_projection_plan(output_fields, self._schema, api_kind="search")
    compiled = self._compile_filter(expr, timezone=timezone) if expr else None
    sources = list(_sources(self, vector_field, partition_names, compiled))
    count = sum(np.count_nonzero(source.live) for source in sources)
    mean = sum(source.postings.lengths[source.live].sum() for source in sources) / max(count, 1)
    results = []
    for query in self._prepare_sparse_queries(query_vectors, vector_field):
        scores = [np.zeros(len(source.live)) for source in sources]
        for term, weight in query.items():
            entries = [source.postings.entries(term) for source in sources]
            holding = sum(np.count_nonzero(each.live[rows]) for each, (rows, _) in zip(sources, entries, strict=True))
            idf = np.log((count - holding + 0.5) / (holding + 0.5) + 1)
            for source, score, (rows, counts) in zip(sources, scores, entries, strict=True):
                length = source.postings.lengths[rows] / mean
                score[rows] += (
                    weight * idf * counts * (BM25_K1 + 1) / (counts + BM25_K1 * (1 - BM25_B + BM25_B * length))
                )
        found = [
            (float(score[row]), source, int(row))
            for source, score in zip(sources, scores, strict=True)
            for row in _best(np.where(source.asked, score, 0), top_k)
        ]
        found.sort(key=lambda each: -each[0])
        hits = []
        for score_, source, row in found[:top_k]:
            record = {name: source.table.column(name)[row].as_py() for name in (self._pk_name, *plan.engine_fields)}
            entity = project_record(record, self._schema, plan)
            hits.append({"id": record[self._pk_name], "distance": -score_, "entity": entity})
        results.append(hits)
    return results


def _sources(
    collection: Any, vector_field: str, partition_names: Sequence[str] | None, compiled: Any
) -> Iterator[_Source]:
    segments, deleted = collection._read_snapshot()
    memtable = collection._memtable
    pending = memtable.delete_index_snapshot()
    ids, seqs, _, _, table = memtable.to_search_snapshot(None, partition_names, include_table=True)
    newer = {id_: seq for id_, (_, _, seq) in memtable.pk_index_snapshot()}
    plan = collection._indexed_filter_plan(compiled)
    for segment, live in zip(segments, _live_rows(collection, segments, deleted), strict=True):
        if partition_names is not None and segment.partition not in partition_names:
            continue
        gone = {id_: seq for id_, (seq, where) in pending.items() if where in (ALL_PARTITIONS, segment.partition)}
        live = _without(_without(live, segment, gone), segment, newer)
        postings = segment.sparse_indexes.get(vector_field)
        if postings is None:
            postings = Postings.of(segment.table.column(vector_field).to_pylist())
            segment.sparse_indexes[vector_field] = postings
        asked = live if compiled is None else live & evaluate_segment_filter(segment, compiled, plan)
        yield _Source(segment.table, postings, live, asked)
    if ids:
        live = np.array([not deleted.is_deleted(id_, seq) for id_, seq in zip(ids, seqs.tolist(), strict=True)])
        asked = live if compiled is None else live & evaluate_mask(compiled, table)
        yield _Source(table, Postings.of(table.column(vector_field).to_pylist()), live, asked)


def _live_rows(collection: Any, segments: Sequence[Any], deleted: Any) -> Sequence[_Mask]:
    """By what is in files alone, which seldom changes."""
    known: tuple[Any, Any, Any] = getattr(collection, "_live_rows", (None, None, ()))
    if known[0] == segments and known[1] == deleted.snapshot:
        return known[2]  # type: ignore[no-any-return]
    newest: dict[Any, int] = dict(deleted.snapshot)
    for segment in segments:
        for id_, seq in zip(segment.pks, segment.seqs.tolist(), strict=True):
            if seq > newest.get(id_, -1):
                newest[id_] = seq
    live = [
        np.array([newest[id_] == seq for id_, seq in zip(segment.pks, segment.seqs.tolist(), strict=True)], dtype=bool)
        for segment in segments
    ]
    collection._live_rows = (segments, deleted.snapshot, live)
    return live


def _without(live: _Mask, segment: Any, newer: Mapping[Any, int]) -> _Mask:
    """Less the rows of which there is something newer."""
    rows = [
        row for id_, seq in newer.items() if (row := segment.find_row(id_)) is not None and int(segment.seqs[row]) < seq
    ]
    if rows:
        live = live.copy()
        live[rows] = False
    return live


def _best(scores: _Scores, limit: int) -> _Rows:
    """The rows with a score, at most `limit`, of equal ones the first."""
    found = np.flatnonzero(scores > 0)
    return found[np.argsort(-scores[found], kind="stable")[:limit]]
