"""Upserts in Milvus Lite's process keep vectors as arrays from the message to the file. Lite itself makes a list of
Python numbers of each vector, checks every number, and converts every row to Python values again to write it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from milvus_lite.adapter.grpc.translators import records as translator
from milvus_lite.engine import collection
from milvus_lite.engine.collection import Collection
from milvus_lite.schema.arrow_builder import get_vector_field
from milvus_lite.storage.memtable import MemTable

_extract_column = translator._extract_vector_column
_validate_all = collection.validate_record
_merge_and_insert = Collection.upsert


def install() -> None:
    translator._extract_vector_column = _vectors
    collection.validate_record = _validate
    Collection.upsert = _upsert
    MemTable._build_data_table = _data_table


def _vectors(data: Any, dtype: int, rows: int) -> Sequence[Any]:
    """Replaces _extract_vector_column: returns each row's vector as an array."""
    values = data.vectors.float_vector.data
    dimension = int(data.vectors.dim)
    if not dimension or len(values) != rows * dimension:
        found: Sequence[Any] = _extract_column(data, dtype, rows)
        return found
    return list(np.asarray(values, dtype=np.float32).reshape(rows, dimension))


def _validate(record: dict[str, Any], schema: Any, default_properties: Any = None) -> None:
    """Replaces validate_record: an array of the right length holds numbers only."""
    field = get_vector_field(schema)
    vector = record.get(field.name)
    if not isinstance(vector, np.ndarray) or len(vector) != field.dim:
        _validate_all(record, schema, default_properties)
        return
    others = replace(schema, fields=[each for each in schema.fields if each is not field])
    del record[field.name]
    _validate_all(record, others, default_properties)
    record[field.name] = vector


def _upsert(self: Any, records: list[dict[str, Any]], partition_name: str) -> list[Any]:
    """Replaces Collection.upsert, which reads the replaced row of each record for fields that are to stay. If all
    fields are given none stay, and the latest of the rows with one id wins.
    """
    made = {name for function in self._schema.functions for name in function.output_field_names}
    fields = {field.name for field in self._schema.fields} - made
    whole = all(record.keys() == fields for record in records)
    ids: list[Any] = (Collection.insert if whole else _merge_and_insert)(self, records, partition_name)
    return ids


def _data_table(self: Any, rows: Sequence[tuple[int, int]]) -> pa.Table:
    """Replaces MemTable._build_data_table: takes rows by number of batch and row in the batch."""
    batches = self._insert_batches
    starts = np.cumsum([0, *(batch.num_rows for batch in batches)])
    places = [starts[batch] + row for batch, row in rows]
    table = pa.Table.from_batches(batches).select(self._data_schema.names)
    return table.take(pa.array(places, pa.int64())).cast(self._data_schema)
