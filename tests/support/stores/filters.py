"""Rows and filters for tests that compare what a store finds with what `matches` says."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from retrieval.filters.parse import parse_filter
from retrieval.filters.tree import BUILT_IN, TEXT_OPERATORS, Filter, KeyType, TextOperator
from retrieval.types import DocumentId, EmbeddedChunk
from tests.support.stores.vector_store import row

DECLARED: Mapping[str, KeyType] = {"year": "int", "tag": "text", "price": "float", "draft": "bool"}
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
TEXTS = ["", "a", "ab", "5", "true", "[1]", '"', "\\", '" or 1 == 1 or "', "{value0}", "50%", "a_c", "中文", "𠮷", "\n"]
LANGUAGES = ["en", "zh"]
NUMBERS: list[int | float] = [0, 1, -1, 5, 5.0, 5.5, -0.5, 2024, 2**53, 1e300, 1e-7]
SCALARS = [*TEXTS, *NUMBERS, True, False]
ANY_VALUES = [*SCALARS, None, [], {}, ["a", 5], [5.0], [True, ""], [[1]], [None], {"any": 1}]
FREE_KEYS = ["any", "a/b", "键", "Two words", "outer.inner", "outer.inner.most", "any.any", ".x"]
OF_DECLARED: Mapping[KeyType, Sequence[Any]] = {
    "text": TEXTS,
    "int": [0, 1, -1, 5, 2024, 2**63 - 1],
    "float": NUMBERS,
    "bool": [True, False],
}


def every_kind(declared: Mapping[str, KeyType] = DECLARED) -> list[EmbeddedChunk]:
    """Rows with each of the values above under a key of its own kind, with none, and with the built-in fields apart."""
    rows = [replace(row(DocumentId("bare"), chunk_id="bare"), metadata_keys=declared)]
    for number, value in enumerate(ANY_VALUES):
        metadata = {
            key: ANY_VALUES[(number + place) % len(ANY_VALUES)]
            for place, key in enumerate(FREE_KEYS)
            if "outer" not in key or number % 3 == 0
        }
        if number % 2:
            metadata["outer"] = {"inner": ANY_VALUES[(3 * number) % len(ANY_VALUES)], "other": {"most": None}}
        elif number % 4:
            metadata["outer"] = {"inner": {"most": ANY_VALUES[(5 * number) % len(ANY_VALUES)]}}
        if number % 4:
            metadata |= {key: OF_DECLARED[type_][number % len(OF_DECLARED[type_])] for key, type_ in declared.items()}
        plain = row(DocumentId(f"d{number % 5}"), number, chunk_id=f"row {number}", partition=TEXTS[number % 4])
        rows.append(
            replace(
                plain,
                chunk=replace(plain.chunk, page=None if number % 3 == 0 else number % 3),
                title=TEXTS[number % len(TEXTS)],
                media_type="text/html" if number % 2 else "text/plain",
                language="" if number % 3 == 1 else LANGUAGES[number % len(LANGUAGES)],
                metadata=metadata | ({"any": value} if number % 7 else {}),
                ingested_at=None if number % 5 == 0 else NOON + timedelta(milliseconds=number, microseconds=700),
                metadata_keys=declared,
            )
        )
    return rows


def comparisons(
    *, any_types: bool = True, text_operators: Sequence[TextOperator] = TEXT_OPERATORS
) -> st.SearchStrategy[dict[str, Any]]:
    """Over built-in fields, declared keys and others. Not `any_types`: of undeclared keys only what needs text."""
    fields: list[tuple[str, Sequence[Any]]] = [
        *((f"metadata.{key}", OF_DECLARED[type_]) for key, type_ in DECLARED.items()),
        *((name, ["d1", "d2", *LANGUAGES, *TEXTS]) for name, field in BUILT_IN.items() if field.type == "text"),
        ("ordinal", [0, 3, 7, 100]),
        ("page", [0, 1, 2]),
        ("ingested_at", [(NOON + timedelta(milliseconds=add)).isoformat() for add in (-1, 0, 3, 8)]),
    ]
    typed = st.sampled_from(fields).flatmap(lambda field: _of(field[0], field[1], ordered=field[1] != [True, False]))
    optional = [name for name, field in BUILT_IN.items() if field.optional]
    present = st.sampled_from([*optional, *(f"metadata.{key}" for key in (*DECLARED, *FREE_KEYS, "none"))])
    exists = present.map(lambda key: {"type": "exists", "key": key})
    looks_within = "contains" in text_operators
    free_keys = [f"metadata.{key}" for key in (*FREE_KEYS, "none")]
    keys = st.sampled_from(free_keys)
    free = keys.flatmap(lambda key: _of(key, SCALARS if any_types else TEXTS, ordered=any_types))
    contains = st.builds(
        lambda key, value: {"type": "contains", "key": key, "value": value},
        keys,
        st.sampled_from([each for each in SCALARS if each != "" and (looks_within or not isinstance(each, str))]),
    )
    # Where no type is known, not every server can look within texts.
    texts = [
        "metadata.tag",
        *(name for name, field in BUILT_IN.items() if field.type == "text"),
        *(free_keys if any_types else []),
    ]
    parts = st.builds(
        lambda type_, key, value: {"type": type_, "key": key, "value": value},
        st.sampled_from(text_operators),
        st.sampled_from(texts),
        st.sampled_from(
            [
                text
                for text in (*TEXTS, "5", "e", "c", "%", "_", "d1", "row 1", "text/")
                if text and (any_types or "\\" not in text)
            ]
        ),
    )
    every = st.one_of(typed, free, exists, parts)
    return every | contains if any_types else every


def _of(key: str, values: Sequence[Any], *, ordered: bool) -> st.SearchStrategy[dict[str, Any]]:
    value = st.sampled_from(values)
    one = st.builds(lambda op, value: {"type": op, "key": key, "value": value}, st.sampled_from(["eq", "ne"]), value)
    several = st.lists(value, min_size=1, max_size=4).map(lambda list_: {"type": "in", "key": key, "value": list_})
    if not ordered:
        return one | several
    sized = value.filter(lambda value: not isinstance(value, bool))
    order = st.builds(
        lambda op, value: {"type": op, "key": key, "value": value}, st.sampled_from(["gt", "gte", "lt", "lte"]), sized
    )
    return one | several | order


def trees(
    *, any_types: bool = True, text_operators: Sequence[TextOperator] = TEXT_OPERATORS
) -> st.SearchStrategy[Filter]:
    def joined(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        several = st.lists(inner, min_size=1, max_size=3)
        return st.builds(
            lambda type_, filters: {"type": type_, "filters": filters}, st.sampled_from(["and", "or"]), several
        ) | inner.map(lambda each: {"type": "not", "filters": [each]})

    tree = st.recursive(comparisons(any_types=any_types, text_operators=text_operators), joined, max_leaves=5)
    return tree.map(lambda each: parse_filter(each, DECLARED))
