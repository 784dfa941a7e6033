"""Filters on JSON in Milvus Lite's process as a Milvus server reads them. Lite itself takes true for 1 and text that
looks like a list for one, has no answer where types differ, and reads all columns, vectors included."""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import pyarrow as pa
from milvus_lite.schema.types import DataType
from milvus_lite.search.filter import eval as evaluation
from milvus_lite.search.filter.ast import ArrayContainsOp
from milvus_lite.search.filter.eval import python_backend

from retrieval.filter_matching import compare, same
from retrieval.filters import Operator

_OPERATORS: Mapping[str, Operator] = {"==": "eq", "!=": "ne", ">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}

_value_of = python_backend._eval_row


def install() -> None:
    python_backend._CMP_OPS.update({symbol: partial(compare, name) for symbol, name in _OPERATORS.items()})
    python_backend._eval_row = _value
    evaluation.evaluate_python = _evaluate


def _evaluate(compiled: Any, data: Any) -> Any:
    """In place of evaluate_python: one truth for each row, from the fields that the filter names."""
    columns = {}
    for name, field in compiled.fields.items():
        values = data.column(name).to_pylist()
        columns[name] = [json.loads(value) for value in values] if field.dtype is DataType.JSON else values
    rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    return pa.array([_value(compiled.ast, row) is True for row in rows], type=pa.bool_())


def _value(node: Any, row: dict[str, Any]) -> Any:
    """In place of _eval_row. Of functions on lists, `json_contains_any` is the one that filters need."""
    if isinstance(node, ArrayContainsOp):
        elements, wanted = _value_of(node.value, row), [value.value for value in node.values.elements]
        return isinstance(elements, list) and any(same(element, value) for element in elements for value in wanted)
    return _value_of(node, row)
