"""Collections, aliases, and what a store says of itself."""

from dataclasses import replace

import pytest
from pymilvus import MilvusClient

from retrieval.errors import CollectionNotFound, StoreFailed, Unsupported
from retrieval.filters.tree import BUILT_IN, Compare, Exists, Not
from retrieval.ports import VectorStore
from retrieval.stores.milvus.rows import LANGUAGE, SECTION
from retrieval.stores.milvus.schema import collection_schema
from retrieval.types import ChunkId, CollectionSpec, StoreName
from tests.support.stores.vector_store import (
    DIMENSION,
    EAST,
    NUMBERS,
    created,
    direction,
    found,
    new_document,
    new_name,
    row,
)


class TestCollections:
    async def test_created_collections_are_listed_until_they_are_dropped(self, store: VectorStore) -> None:
        name = await created(store)
        assert name in await store.list_collections()
        await store.drop_collection(name)
        assert name not in await store.list_collections()
        await store.drop_collection(name)

    async def test_creating_again_keeps_what_is_there(self, store: VectorStore) -> None:
        name = await created(store)
        await store.upsert(name, [row(new_document())])
        await store.create_collection(name, CollectionSpec(DIMENSION))
        assert await store.count(name) == 1

    async def test_another_dimension_is_refused(self, store: VectorStore, shared: StoreName) -> None:
        with pytest.raises(StoreFailed, match="4 dimensions, not 8"):
            await store.create_collection(shared, CollectionSpec(8))

    async def test_what_does_not_exist_is_not_found(self, store: VectorStore) -> None:
        name, document = new_name(), new_document()
        with pytest.raises(CollectionNotFound):
            await store.search(name, direction(EAST), limit=1)
        with pytest.raises(CollectionNotFound):
            await store.upsert(name, [row(document)])
        with pytest.raises(CollectionNotFound):
            await store.prune(name, {document: []})
        with pytest.raises(CollectionNotFound):
            await store.count(name)
        with pytest.raises(CollectionNotFound):
            await store.point_alias("nowhere", name)

    async def test_a_name_that_the_server_refuses_fails(self, store: VectorStore) -> None:
        with pytest.raises(StoreFailed):
            await store.create_collection(StoreName("a/b"), CollectionSpec(DIMENSION))

    async def test_capabilities_say_what_is_missing(self, store: VectorStore) -> None:
        capabilities = await store.capabilities()
        assert (capabilities.server, capabilities.version, capabilities.sparse) in [
            ("milvus-lite", "3.2.2", True),
            ("milvus", "2.3.5", False),
        ]
        assert bool(capabilities.sparse_missing) is not capabilities.sparse
        assert capabilities.version in capabilities.sparse_missing or capabilities.sparse

    async def test_it_is_healthy(self, store: VectorStore) -> None:
        assert store.failure is None


class TestAliases:
    async def test_an_alias_serves_as_a_name_and_moves(self, store: VectorStore) -> None:
        old, new, alias = await created(store), await created(store), f"alias_{next(NUMBERS)}"
        await store.point_alias(alias, old)
        document = new_document()
        await store.upsert(alias, [row(document, 0), row(document, 1)])
        assert await store.present(alias, [ChunkId(f"{document}/0")]) == {f"{document}/0"}
        assert len(await found(store, alias)) == 2
        assert await store.count(old) == 2

        await store.point_alias(alias, new)
        assert await store.count(alias) == 0
        await store.point_alias(alias, new)
        assert alias not in await store.list_collections()

        await store.drop_alias(alias)
        with pytest.raises(CollectionNotFound):
            await store.count(alias)
        await store.drop_alias(alias)

    async def test_dropping_a_collection_drops_its_aliases(self, store: VectorStore) -> None:
        name, alias = await created(store), f"alias_{next(NUMBERS)}"
        await store.point_alias(alias, name)
        await store.drop_collection(name)
        with pytest.raises(CollectionNotFound):
            await store.count(alias)

    async def test_a_collection_of_an_earlier_release_goes_on_without_what_came_later(self, store: VectorStore) -> None:
        """As releases before 0.1.0 made it: chunks have no section and no language there, and nothing else is
        missing."""
        session = store._session  # type: ignore[attr-defined]
        traits, name, spec = await session.traits(), new_name(), CollectionSpec(DIMENSION)
        schema = collection_schema(spec, traits)
        earlier = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        for field in schema.fields:
            if field.name not in (*SECTION, LANGUAGE):
                earlier.add_field(
                    field.name,
                    field.dtype,
                    **{**field.params, "is_primary": field.is_primary, "is_partition_key": field.is_partition_key},
                )
        for function in schema.functions:
            earlier.add_function(function)
        async with await session.turn():
            await session.write("create_collection", name, schema=earlier)
        await store.create_collection(name, spec)
        assert not await store.has_sections(name)
        old = replace(row(new_document(), text="text"), language="en")
        await store.upsert(name, [old])
        assert await store.count(name) == 1  # read at Strong consistency; a search may lag behind a write
        (hit,) = await store.search(name, direction(EAST), limit=1)
        assert (hit.chunk, hit.language) == (old.chunk, "")
        for filter in (Compare("eq", BUILT_IN["language"], "en"), Not(Exists(BUILT_IN["language"]))):
            with pytest.raises(Unsupported, match="tandem reembed"):
                await store.search(name, direction(EAST), limit=1, filter=filter)
        found = await store.chunks(name, {old.chunk.document_id: [0]})
        assert list(found.values()) == [old.chunk]
        await store.drop_collection(name)
        assert await store.has_sections(await created(store))
