"""Reads by id in Milvus Lite's process: of a row only the fields that were asked for. Lite itself makes Python values
of all of them, the vector's thousand numbers too, to tell that a row is there."""

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
    """In place of Collection.get: rows in the order of `pks`, without those that are not there."""
    known = {field.name for field in self._schema.fields}
    if partition_names or expr or not output_fields or not known.issuperset(output_fields):
        whole: list[dict[str, Any]] = _get_whole(self, pks, partition_names, expr, output_fields, timezone)
        return whole
    self._require_loaded()
    fields = {self._pk_name, *output_fields}
    return [{name: rows.column(name)[row].as_py() for name in fields} for rows, row in _places(self, pks)]


def _places(collection: Any, pks: Sequence[Any]) -> Iterator[tuple[Any, int]]:
    """The latest version of each, where it is not deleted: Arrow columns and the row therein."""
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
