"""Reads by id in Milvus Lite's process return only the requested fields. Lite itself converts all fields of a row to
Python values, including the vector's thousand numbers, just to check that the row exists.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from milvus_lite.engine.collection import Collection

_get_whole = Collection.get


def install() -> None:
    Collection.get = _get


def _get(
    self: Any,
    pks: Sequence[Any],
    partition_names: Sequence[str] | None = None,
    expr: str | None = None,
    output_fields: Sequence[str] | None = None,
    timezone: str | None = None,
) -> list[dict[str, Any]]:
    """Replaces Collection.get: returns rows in the order of `pks`, without those that do not exist."""
    known = {field.name for field in self._schema.fields}
    if partition_names or expr or not output_fields or not known.issuperset(output_fields):
        whole: list[dict[str, Any]] = _get_whole(self, pks, partition_names, expr, output_fields, timezone)
        return whole
    self._require_loaded()
    fields = {self._pk_name, *output_fields}
    return [{name: rows.column(name)[row].as_py() for name in fields} for rows, row in _places(self, pks)]


def _places(collection: Any, pks: Sequence[Any]) -> Iterator[tuple[Any, int]]:
    """Yields the latest version of each row that is not deleted: Arrow columns and the row's index in them."""
    segments, deleted = collection._read_snapshot()
    memory = collection._memtable
    for pk in pks:
        if (place := memory._pk_index.get(pk)) is not None:
            batch, row, _ = place
            yield memory._insert_batches[batch], row
        elif not memory.is_locally_deleted(pk):
            versions = [
                (int(segment.seqs[row]), segment.table, row)
                for segment in segments
                if (row := segment.find_row(pk)) is not None
            ]
            if versions:
                seq, table, row = max(versions, key=lambda version: version[0])
                if not deleted.is_deleted(pk, seq):
                    yield table, row
