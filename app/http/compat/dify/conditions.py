"""Converts Dify's metadata conditions to the node's filters; conditions without an exact equivalent are refused."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from pydantic import JsonValue

from app.http.compat.dify.schemas import Condition, MetadataCondition, Operator, Value
from retrieval.errors import InvalidRequest
from retrieval.filters.parse import parse_filter
from retrieval.filters.tree import BUILT_IN, METADATA, KeyType

Tree = dict[str, JsonValue]

_ORDER: Final[Mapping[Operator, str]] = {
    "=": "eq",
    "≠": "ne",
    ">": "gt",
    "<": "lt",
    "≥": "gte",
    "≤": "lte",
    "before": "lt",
    "after": "gt",
}
_PARTS: Final[Mapping[Operator, str]] = {
    "contains": "contains",
    "not contains": "contains",
    "start with": "starts_with",
    "end with": "ends_with",
}


def filter_of(metadata_condition: MetadataCondition | None, declared: Mapping[str, KeyType]) -> Tree | None:
    """Returns a filter of POST /search; None if there is no condition. Raises InvalidRequest, with the number of the
    condition, if it has no equivalent.

    As in Dify, a chunk without the key meets no condition except `empty`.
    """
    trees: list[Tree] = []
    for number, condition in enumerate((metadata_condition and metadata_condition.conditions) or ()):
        place = f"metadata_condition.conditions.{number}"
        try:
            tree = _tree(condition, declared)
            parse_filter(tree, declared)
        except InvalidRequest as error:
            raise InvalidRequest(f"{place}: {error.message}") from error
        trees.append(tree)
    if metadata_condition is None or len(trees) < 2:
        return trees[0] if trees else None
    return {"type": metadata_condition.logical_operator or "and", "filters": [*trees]}


def _tree(condition: Condition, declared: Mapping[str, KeyType]) -> Tree:
    key, operator, value = _key(condition.name), condition.comparison_operator, condition.value
    if operator in ("empty", "not empty"):
        return _existence(key, wanted=operator == "not empty")
    if value is None:
        raise InvalidRequest(f"comparison_operator {operator!r} needs a value; it has none, or an unassigned variable.")
    kind = _kind(key, declared)
    if operator in ("in", "not in"):
        return _membership(key, value, kind, negated=operator == "not in")
    if isinstance(value, list):
        raise InvalidRequest(f"comparison_operator {operator!r} takes one value, not a list of {len(value)}.")
    if operator in _PARTS:
        part: Tree = {"type": _PARTS[operator], "key": key, "value": str(value)}
        return part if operator != "not contains" else _without(key, part)
    if operator in ("is", "is not"):
        return {"type": "eq" if operator == "is" else "ne", "key": key, "value": _typed(value, kind)}
    if key == "ingested_at":
        return {"type": _ORDER[operator], "key": key, "value": _moment(value)}
    return {"type": _ORDER[operator], "key": key, "value": _number(value, operator)}


def _key(name: str | list[str]) -> str:
    if isinstance(name, list):
        if len(name) > 1:
            raise InvalidRequest(f"name: one is taken, not {len(name)}; write a condition for each.")
        name = name[0]
    return name if name in BUILT_IN or name.startswith(METADATA) else METADATA + name


def _kind(key: str, declared: Mapping[str, KeyType]) -> str | None:
    return BUILT_IN[key].type if key in BUILT_IN else declared.get(key.removeprefix(METADATA))


def _existence(key: str, *, wanted: bool) -> Tree:
    exists: Tree = {"type": "exists", "key": key}
    return exists if wanted else {"type": "not", "filters": [exists]}


def _membership(key: str, value: Value | list[str], kind: str | None, *, negated: bool) -> Tree:
    """Builds a membership test. A text is a list separated by commas, as Dify reads it."""
    values = value if isinstance(value, list) else [part.strip() for part in str(value).split(",") if part.strip()]
    if not values:
        raise InvalidRequest("value: the list is empty.")
    member: Tree = {"type": "in", "key": key, "value": [_typed(each, kind) for each in values]}
    return _without(key, member) if negated else member


def _without(key: str, tree: Tree) -> Tree:
    """The key is there, and `tree` is not true of it."""
    negated: Tree = {"type": "not", "filters": [tree]}
    if key in BUILT_IN and not BUILT_IN[key].optional:
        return negated
    return {"type": "and", "filters": [_existence(key, wanted=True), negated]}


def _typed(value: Value, kind: str | None) -> Value | bool:
    """Converts a value to the type that the collection declares for the key: Dify sends most values as text."""
    if not isinstance(value, str):
        return value
    if kind in ("int", "float"):
        return _number(value, "is")
    if kind == "bool" and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return _moment(value) if kind == "time" else value


def _number(value: Value, operator: Operator) -> int | float:
    if not isinstance(value, str):
        return value
    for read in (int, float):
        with suppress(ValueError):
            return read(value)
    times = " Times are numbers in Dify: seconds since 1970." if operator in ("before", "after") else ""
    raise InvalidRequest(f"value: comparison_operator {operator!r} needs a number, not {value[:60]!r}.{times}")


def _moment(value: Value) -> str:
    """Formats seconds since 1970 as a time with a zone; other text stays unchanged."""
    try:
        return datetime.fromtimestamp(float(value), UTC).isoformat()
    except ValueError:
        return str(value)
    except (OverflowError, OSError) as error:
        raise InvalidRequest(f"value: {str(value)[:60]!r} is no time in seconds since 1970.") from error
