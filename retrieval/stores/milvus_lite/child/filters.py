"""Makes filters on JSON in Milvus Lite's process behave as on a Milvus server. Lite itself treats true as 1 and text
that looks like a list as a list, fails if types differ, has no `in` on JSON, and reads all columns of each row.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial, reduce
from operator import and_, or_
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc  # type: ignore[import-untyped]
from milvus_lite.search.filter import eval as evaluation
from milvus_lite.search.filter.ast import (
    And,
    ArrayContainsOp,
    CmpOp,
    FieldRef,
    InOp,
    IsNullOp,
    LikeOp,
    Not,
    Or,
    PathAccess,
)
from milvus_lite.search.filter.eval.arrow_backend import evaluate_arrow
from milvus_lite.search.filter.parser import Parser

from retrieval.filters.evaluate import compare, kind, match_text, same, walk
from retrieval.filters.tree import Operator, TextOperator

_OPERATORS: Mapping[str, Operator] = {"==": "eq", "!=": "ne", ">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}

_Mask = npt.NDArray[np.bool_]
_parse_in_tail = Parser._parse_in_tail


def install() -> None:
    evaluation.evaluate_python = _evaluate
    evaluation.evaluate_arrow = _evaluate_fields
    Parser._parse_in_tail = _parse_in


def _parse_in(self: Any, left: Any, negate: bool) -> Any:
    """Replaces Parser._parse_in_tail: the left side of `in` may be a path in JSON."""
    if not isinstance(left, PathAccess):
        return _parse_in_tail(self, left, negate)
    return replace(_parse_in_tail(self, left.base, negate), field=left)


def _evaluate(compiled: Any, data: Any) -> Any:
    """Replaces evaluate_python, for the expressions that milvus/filters.py writes; returns for each row of `data`
    whether it matches.
    """
    return pa.array(_Evaluation(compiled, data).mask(compiled.ast))


def _evaluate_fields(compiled: Any, data: Any) -> Any:
    """Replaces evaluate_arrow, which misreads backslashes in the pattern of `like`."""
    return _evaluate(compiled, data) if _has_like(compiled.ast) else evaluate_arrow(compiled, data)


def _has_like(node: Any) -> bool:
    match node:
        case And(operands=operands) | Or(operands=operands):
            return any(map(_has_like, operands))
        case Not(operand=operand):
            return _has_like(operand)
    return isinstance(node, LikeOp)


class _Evaluation:
    def __init__(self, compiled: Any, data: Any) -> None:
        self._compiled = compiled
        self._data = data
        self._json: dict[str, list[Any]] = {}

    def mask(self, node: Any) -> _Mask:
        match node:
            case And(operands=operands):
                return reduce(and_, map(self.mask, operands))
            case Or(operands=operands):
                return reduce(or_, map(self.mask, operands))
            case Not(operand=operand):
                return ~self.mask(operand)
            case IsNullOp(field=PathAccess() as path, negate=present):
                return self._where(path, lambda value: (value is not None) is present)
            case CmpOp(op=op, left=PathAccess() as path, right=right):
                comparison = partial(compare, _OPERATORS[op])
                return self._where(path, lambda value: value is not None and comparison(value, right.value))
            case InOp(field=PathAccess() as path, values=values):
                members = {(kind(each.value), each.value) for each in values.elements}
                kinds = {each for each, _ in members}
                return self._where(path, lambda value: kind(value) in kinds and (kind(value), value) in members)
            case ArrayContainsOp(value=PathAccess() as path, values=values):
                wanted = [each.value for each in values.elements]
                return self._where(path, lambda value: _contains(value, wanted))
            case ArrayContainsOp(value=FieldRef(name=name), values=values):
                return _lists_any(self._data.column(name), [each.value for each in values.elements])
            case LikeOp(value=PathAccess() as path, pattern=pattern):
                operator, part = _of_pattern(pattern.value)
                return self._where(path, lambda value: match_text(operator, value, part))
            case LikeOp(value=FieldRef(name=name), pattern=pattern):
                operator, part = _of_pattern(pattern.value)
                texts = self._data.column(name).to_pylist()
                found = (match_text(operator, text, part) for text in texts)
                return np.fromiter(found, dtype=np.bool_, count=len(texts))
        mask: _Mask = evaluate_arrow(replace(self._compiled, ast=node), self._data).to_numpy(zero_copy_only=False)
        return mask

    def _where(self, path: PathAccess, holds: Callable[[Any], bool]) -> _Mask:
        documents = self._documents(path.base)
        values = (walk(document, path.path) for document in documents)
        return np.fromiter((holds(value) for value in values), dtype=np.bool_, count=len(documents))

    def _documents(self, field: FieldRef) -> list[Any]:
        if field.name not in self._json:
            self._json[field.name] = [orjson.loads(text) for text in self._data.column(field.name).to_pylist()]
        return self._json[field.name]


def _lists_any(column: Any, wanted: list[str]) -> _Mask:
    """Returns for each list of a column whether it has one of the texts. Of all elements at once: row by row it takes
    a hundred times as long.
    """
    lists = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    mask = np.zeros(len(lists), dtype=np.bool_)
    found = pc.is_in(pc.list_flatten(lists), value_set=pa.array(wanted, pa.string()))
    mask[pc.filter(pc.list_parent_indices(lists), found).to_numpy()] = True
    return mask


def _of_pattern(pattern: str) -> tuple[TextOperator, str]:
    """Reads a pattern that milvus/filters.py writes: `%`, the escaped text, and for `contains` another `%`."""
    contains = re.fullmatch(r"%(?:[^\\%_]|\\.)*%", pattern, re.DOTALL) is not None
    part = re.sub(r"\\(.)", r"\1", pattern[1:-1] if contains else pattern[1:], flags=re.DOTALL)
    return ("contains" if contains else "ends_with"), part


def _contains(value: object, wanted: list[Any]) -> bool:
    return isinstance(value, list) and any(same(element, each) for element in value for each in wanted)
