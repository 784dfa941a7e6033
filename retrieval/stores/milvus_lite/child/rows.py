"""The rows that a search in Milvus Lite's process considers. Lite determines for each search again which of them are
live, row by row in Python; this module caches the result until something changes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from milvus_lite.constants import ALL_PARTITIONS
from milvus_lite.search.filter import evaluate_mask
from milvus_lite.search.indexed_filter import evaluate_segment_filter

Mask = npt.NDArray[np.bool_]

_LIVE_ROWS = "live rows"


@dataclass(frozen=True, slots=True)
class Source:
    """Rows of one file, or the rows that are not in a file yet."""

    table: pa.Table
    segment: Any
    """Lite's segment; None for rows that are not in a file yet."""
    live: Mask
    """Neither deleted nor replaced."""
    selected: Mask
    """Live, and let through by the filter."""


def hit(key: str, distance: float, source: Source, row: int, fields: Sequence[str]) -> dict[str, Any]:
    """Returns a hit in the form of Lite's own searches; `key` is the name of the primary key's field."""
    table = source.table
    entity = {name: table.column(name)[row].as_py() for name in fields if name != key}
    return {"id": table.column(key)[row].as_py(), "distance": distance, "entity": entity}


def sources(
    segments: Sequence[Any],
    deleted: Any,
    memtable: Any,
    partition_names: Sequence[str] | None,
    compiled: Any,
    plan: Any,
) -> Iterator[Source]:
    """Yields the sources of a search. `segments` and `deleted` are one snapshot of a collection; `compiled` is its
    filter, or None.
    """
    pending = memtable.delete_index_snapshot()
    ids, seqs, _, _, table = memtable.to_search_snapshot(None, partition_names, include_table=True)
    newer = {id_: seq for id_, (_, _, seq) in memtable.pk_index_snapshot()}
    for segment, live in zip(segments, _live_rows(segments, deleted.snapshot), strict=True):
        if partition_names is not None and segment.partition not in partition_names:
            continue
        gone = {id_: seq for id_, (seq, where) in pending.items() if where in (ALL_PARTITIONS, segment.partition)}
        live = _without(_without(live, segment, gone), segment, newer)
        selected = live if compiled is None else live & evaluate_segment_filter(segment, compiled, plan)
        yield Source(segment.table, segment, live, selected)
    if ids:
        live = np.array([not deleted.is_deleted(id_, seq) for id_, seq in zip(ids, seqs.tolist(), strict=True)])
        selected = live if compiled is None else live & evaluate_mask(compiled, table)
        yield Source(table, None, live, selected)


def _live_rows(segments: Sequence[Any], deleted: Mapping[Any, int]) -> Sequence[Mask]:
    """Returns the live rows according to the files alone. The result is stored with the first file, where Lite keeps
    its own data for searches.
    """
    if not segments:
        return []
    kept = segments[0].sparse_indexes
    known = kept.get(_LIVE_ROWS)
    if known is None or known[0] != segments or known[1] != deleted:
        newest = dict(deleted)
        for segment in segments:
            for id_, seq in zip(segment.pks, segment.seqs.tolist(), strict=True):
                if seq > newest.get(id_, -1):
                    newest[id_] = seq
        masks = []
        for segment in segments:
            rows = zip(segment.pks, segment.seqs.tolist(), strict=True)
            masks.append(np.array([newest[id_] == seq for id_, seq in rows], dtype=bool))
        known = kept[_LIVE_ROWS] = (segments, deleted, masks)
    live: Sequence[Mask] = known[2]
    return live


def _without(live: Mask, segment: Any, newer: Mapping[Any, int]) -> Mask:
    """Returns `live` without the rows of which a newer version exists."""
    rows = [
        row for id_, seq in newer.items() if (row := segment.find_row(id_)) is not None and int(segment.seqs[row]) < seq
    ]
    if rows:
        live = live.copy()
        live[rows] = False
    return live
