"""Nearest-vector searches in Milvus Lite's process: reads only the requested fields, and a filter never hides a row
that matches it.
"""

from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np
from milvus_lite.engine import collection
from milvus_lite.index.brute_force import BruteForceIndex
from milvus_lite.index.faiss_hnsw import FaissHnswIndex

from retrieval.stores.milvus_lite.child.rows import Source, hit, sources

_FEW = 2_000
_MANY = 20_000
_NARROW = 0.1
"""Limits below which the rows of a segment that match a filter are compared exhaustively: few rows, or a moderate
number that is a small share. 20,000 vectors of 1,024 dimensions take some 50 ms.
"""

_walk = FaissHnswIndex.search


def install() -> None:
    collection.execute_search_with_index = _search_dense
    FaissHnswIndex.search = _search_graph


def _search_dense(
    query_vectors: Any,
    segments: Sequence[Any],
    memtable: Any,
    delta_index: Any,
    top_k: int,
    metric_type: str,
    pk_field: str,
    vector_field: str,
    output_fields: Sequence[str],
    partition_names: Sequence[str] | None = None,
    compiled_filter: Any = None,
    indexed_filter_plan: Any = None,
    project_record_fn: Any = None,  # noqa: ARG001
    search_params: dict[str, Any] | None = None,
) -> list[list[dict[str, Any]]]:
    """Replaces execute_search_with_index, with its arguments."""
    found: list[list[tuple[float, Source, int]]] = [[] for _ in query_vectors]
    for source in sources(segments, delta_index, memtable, partition_names, compiled_filter, indexed_filter_plan):
        if not source.selected.any():
            continue
        mask = None if source.selected.all() else source.selected
        index = _index(source, vector_field, metric_type)
        rows, distances = index.search(query_vectors, top_k, valid_mask=mask, params=search_params)
        for best, row_numbers, row_distances in zip(found, rows.tolist(), distances.tolist(), strict=True):
            best += [
                (distance, source, row) for row, distance in zip(row_numbers, row_distances, strict=True) if row >= 0
            ]
    return [
        [
            hit(pk_field, distance, source, row, output_fields)
            for distance, source, row in sorted(best, key=lambda each: each[0])[:top_k]
        ]
        for best in found
    ]


def _index(source: Source, field: str, metric: str) -> Any:
    if source.segment is None:
        values = source.table.column(field).combine_chunks()
        vectors = values.values.to_numpy(zero_copy_only=False).reshape(len(values), -1)
        return BruteForceIndex.build(vectors, metric)
    return source.segment.indexes.get(field) or BruteForceIndex.build(source.segment.vector_data(field)[0], metric)


def _search_graph(
    self: Any, queries: Any, top_k: int, valid_mask: Any = None, params: dict[str, Any] | None = None
) -> Any:
    """Replaces FaissHnswIndex.search, which walks its graph for `ef` steps whatever the filter, and drops excluded rows
    afterwards: with a narrow filter (the partition of a small tenant) it finds too little or nothing. A Milvus server
    compares such rows exhaustively. A graph of equal vectors (one notice under many documents) is not connected. If the
    walk would take a step for each row, all rows are compared exhaustively.
    """
    params = params or {}
    steps = int(params.get("ef", top_k))
    if valid_mask is None and steps < self.num_vectors:
        return _walk(self, queries, top_k, None, params)
    valid = np.arange(self.num_vectors) if valid_mask is None else np.flatnonzero(valid_mask)
    if valid.size > _FEW and (valid.size > _MANY or valid.size > _NARROW * self.num_vectors):
        return _walk(self, queries, top_k, valid_mask, {**params, "ef": steps * self.num_vectors // valid.size})
    # Searched by one thread, as in server.py; all threads build indexes.
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    vectors = self._index.reconstruct_batch(valid)
    faiss.omp_set_num_threads(threads)
    ids, distances = BruteForceIndex(vectors, self.metric).search(queries, top_k)
    return np.where(ids < 0, ids, valid[ids]), distances
