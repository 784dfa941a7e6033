"""Filters: a store finds the chunks for which `matches` is true, and no other."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrieval.errors import StoreFailed, Unsupported
from retrieval.filters.evaluate import matches
from retrieval.filters.parse import parse_filter
from retrieval.filters.tree import TEXT_OPERATORS, Filter, Not, TextOperator
from retrieval.ports import VectorStore
from retrieval.types import CollectionSpec, StoreName
from tests.support.stores.filters import DECLARED, SCALARS, TEXTS, every_kind, trees
from tests.support.stores.vector_store import DIMENSION, EAST, created, direction, ids, new_name

ROWS = every_kind()
PREFIXES_ONLY = "milvus_server_store"
"""Milvus 2.3 cannot look within texts."""
UNTYPED = "lite_server_store"
"""Milvus Lite's own server is the one that cannot compare values of unknown types."""


@pytest.fixture(scope="module")
async def filled(store: VectorStore) -> StoreName:
    name = new_name()
    await store.create_collection(name, CollectionSpec(DIMENSION, metadata_keys=DECLARED))
    await store.upsert(name, ROWS)
    assert await store.count(name) == len(ROWS)
    return name


@pytest.fixture
def any_types(request: pytest.FixtureRequest) -> bool:
    return UNTYPED not in request.node.callspec.params.values()


@pytest.fixture
def text_operators(request: pytest.FixtureRequest) -> Sequence[TextOperator]:
    return ["starts_with"] if PREFIXES_ONLY in request.node.callspec.params.values() else TEXT_OPERATORS


async def check(store: VectorStore, name: StoreName, filter: Filter, partition: str | None = None) -> None:
    hits = await store.search(name, direction(EAST), limit=100, partition=partition, filter=filter)
    expected = [each for each in ROWS if partition in (None, each.partition) and matches(filter, each)]
    assert sorted(hit.chunk.id for hit in hits) == sorted(ids(expected))


class TestFilters:
    @given(data=st.data())
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    async def test_any_tree_means_the_same_to_every_store(
        self,
        store: VectorStore,
        filled: StoreName,
        any_types: bool,
        text_operators: Sequence[TextOperator],
        data: st.DataObject,
    ) -> None:
        await check(store, filled, data.draw(trees(any_types=any_types, text_operators=text_operators)))

    @pytest.mark.parametrize("operator", ["eq", "ne", "gt", "gte", "lt", "lte", "contains"])
    async def test_values_of_any_type_are_told_apart(
        self,
        store: VectorStore,
        filled: StoreName,
        any_types: bool,
        text_operators: Sequence[TextOperator],
        operator: str,
    ) -> None:
        for value in SCALARS:
            if isinstance(value, bool) and operator not in ("eq", "ne", "contains"):
                continue
            if operator == "contains" and isinstance(value, str) and (not value or "contains" not in text_operators):
                continue
            filter = parse_filter({"type": operator, "key": "metadata.any", "value": value}, DECLARED)
            if any_types or (isinstance(value, str) and operator in ("eq", "ne")):
                await check(store, filled, filter)
            else:
                with pytest.raises(Unsupported, match=r"metadata\.any"):
                    await check(store, filled, filter)

    @pytest.mark.parametrize("key", ["metadata.tag", "title", "metadata.any"])
    async def test_parts_of_texts(
        self,
        store: VectorStore,
        filled: StoreName,
        any_types: bool,
        text_operators: Sequence[TextOperator],
        key: str,
    ) -> None:
        for operator in TEXT_OPERATORS:
            for value in (*(text for text in TEXTS if text), "c", "_", "%", "\\", "0%", "\U0010ffff"):
                filter = parse_filter({"type": operator, "key": key, "value": value}, DECLARED)
                readable = operator == "starts_with" or any_types or "\\" not in value
                if operator in text_operators and readable and (any_types or key != "metadata.any"):
                    await check(store, filled, filter)
                    await check(store, filled, Not(filter))
                else:
                    with pytest.raises(Unsupported, match=key):
                        await check(store, filled, filter)

    async def test_nested_keys(self, store: VectorStore, filled: StoreName, any_types: bool) -> None:
        for key in (
            "metadata.outer.inner",
            "metadata.outer.inner.most",
            "metadata.outer.other.most",
            "metadata.any.any",
        ):
            exists = {"type": "exists", "key": key}
            await check(store, filled, parse_filter(exists, DECLARED))
            for value in TEXTS:
                for operator in ("eq", "ne", "in"):
                    tree = {"type": operator, "key": key, "value": [value] if operator == "in" else value}
                    await check(store, filled, parse_filter(tree, DECLARED))
                    await check(store, filled, Not(parse_filter(tree, DECLARED)))

    async def test_what_not_lets_through(self, store: VectorStore, filled: StoreName) -> None:
        for key in ("metadata.any", "metadata.tag", "metadata.none"):
            equal = {"type": "eq", "key": key, "value": "a"}
            exists = {"type": "exists", "key": key}
            for tree in (exists, equal, {"type": "and", "filters": [exists, {"type": "not", "filters": [equal]}]}):
                await check(store, filled, parse_filter(tree, DECLARED))
                await check(store, filled, parse_filter({"type": "not", "filters": [tree]}, DECLARED))

    async def test_within_a_partition(self, store: VectorStore, filled: StoreName) -> None:
        either = [{"type": "eq", "key": "page", "value": 1}, {"type": "eq", "key": "metadata.any", "value": "a"}]
        filter = parse_filter({"type": "or", "filters": either}, DECLARED)
        for partition in ("", "a", "nobody's"):
            await check(store, filled, filter, partition)

    async def test_words_as_well(self, store: VectorStore, filled: StoreName) -> None:
        if not (await store.capabilities()).sparse:
            pytest.skip("The server has no BM25.")
        filter = parse_filter({"type": "gte", "key": "metadata.year", "value": 5}, DECLARED)
        hits = await store.search_text(filled, "text", limit=100, filter=filter)
        assert sorted(hit.chunk.id for hit in hits) == sorted(ids([each for each in ROWS if matches(filter, each)]))

    async def test_as_long_as_can_be(self, store: VectorStore, filled: StoreName) -> None:
        values = [f"{number:04}" + "'\"\\" * 680 for number in range(499)]
        filter = parse_filter({"type": "in", "key": "metadata.any", "value": [*values, "a"]}, DECLARED)
        await check(store, filled, filter)


def without_nulls(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: without_nulls(value) if isinstance(value, dict) else value
        for key, value in metadata.items()
        if value is not None
    }


class TestDeclaredKeys:
    async def test_metadata_comes_back_as_it_was(self, store: VectorStore, filled: StoreName) -> None:
        hits = await store.search(filled, direction(EAST), limit=100)
        stored = {hit.chunk.id: hit.metadata for hit in hits}
        assert stored == {each.chunk.id: without_nulls(each.metadata) for each in ROWS}

    async def test_a_collection_keeps_those_it_was_made_with(self, store: VectorStore, filled: StoreName) -> None:
        await store.create_collection(filled, CollectionSpec(DIMENSION, metadata_keys=DECLARED))
        for other in ({}, {**DECLARED, "year": "text"}, {**DECLARED, "more": "int"}):
            with pytest.raises(StoreFailed, match="metadata keys"):
                await store.create_collection(filled, CollectionSpec(DIMENSION, metadata_keys=other))  # type: ignore[arg-type]

    async def test_a_value_of_another_type_is_refused(self, store: VectorStore, filled: StoreName) -> None:
        wrong = replace(ROWS[0], metadata={"year": "2024"})
        with pytest.raises(StoreFailed, match=r"metadata\.year"):
            await store.upsert(filled, [wrong])

    async def test_rows_without_declared_keys_are_as_before(self, store: VectorStore) -> None:
        name = await created(store)
        rows = every_kind({})
        await store.upsert(name, rows)
        assert await store.count(name) == len(rows)
        filter = parse_filter({"type": "eq", "key": "metadata.any", "value": "a"}, {})
        hits = await store.search(name, direction(EAST), limit=100, filter=filter)
        assert sorted(hit.chunk.id for hit in hits) == sorted(ids([each for each in rows if matches(filter, each)]))
