"""Reading back: exactly what is there now, every row once, on pages that are bounded."""

from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import pytest

from retrieval.ports import VectorStore
from retrieval.types import ChunkId, DocumentId, StoredText, StoreName
from tests.support.stores.vector_store import created, ids, new_document, row

MANY = 17_000
"""Milvus bounds offset and limit together to 16,384."""


@pytest.fixture(scope="module")
async def many(store: VectorStore) -> AsyncIterator[StoreName]:
    name = await created(store)
    await store.upsert(name, [row(DocumentId(f"d{n % 3}"), n, chunk_id=f"c{n}") for n in range(MANY)])
    yield name
    await store.drop_collection(name)


class TestReadingBack:
    async def test_writes_and_deletes_are_seen_at_once(self, store: VectorStore, shared: StoreName) -> None:
        document = new_document()
        for generation in range(5):
            rows = [row(document, ordinal, chunk_id=f"{document}/{generation}/{ordinal}") for ordinal in range(3)]
            await store.upsert(shared, rows)
            assert await store.present(shared, [*ids(rows), ChunkId("no such")]) == set(ids(rows))
            await store.prune(shared, {document: ids(rows)})
            assert await store.count(shared, document) == 3
        await store.prune(shared, {document: []})
        assert await store.count(shared, document) == 0
        assert await store.present(shared, ids(rows)) == set()

    async def test_prune_keeps_what_is_named_of_each_document(self, store: VectorStore, shared: StoreName) -> None:
        some, none, every, other = (new_document() for _ in range(4))
        rows = {document: [row(document, n) for n in range(4)] for document in (some, none, every, other)}
        await store.upsert(shared, [each for part in rows.values() for each in part])
        await store.prune(
            shared, {some: ids(rows[some])[1:3], none: [], every: set(ids(rows[every])), new_document(): []}
        )
        assert await store.present(shared, ids(rows[some])) == set(ids(rows[some])[1:3])
        assert await store.count(shared, none) == 0
        assert await store.count(shared, every) == 4
        assert await store.count(shared, other) == 4

    async def test_prune_of_more_documents_than_one_call_names(self, store: VectorStore) -> None:
        name = await created(store)
        documents = [new_document() for _ in range(700)]
        await store.upsert(name, [row(document, ordinal) for document in documents for ordinal in range(2)])
        await store.prune(name, {document: [ChunkId(f"{document}/1")] for document in documents})
        assert await store.present(name, [ChunkId(f"{document}/1") for document in documents]) == {
            f"{document}/1" for document in documents
        }
        assert await store.count(name) == 700

    async def test_delete_takes_the_ids_named_and_no_other(self, store: VectorStore, shared: StoreName) -> None:
        document = new_document()
        rows = [row(document, ordinal) for ordinal in range(5)]
        await store.upsert(shared, rows)
        await store.delete(shared, [*ids(rows)[:3], ChunkId("no such")])
        assert await store.present(shared, ids(rows)) == set(ids(rows)[3:])
        await store.delete(shared, [])
        await store.upsert(shared, rows[:1])
        assert await store.count(shared, document) == 3


class TestTexts:
    async def test_those_of_one_document_each_once(self, store: VectorStore, shared: StoreName) -> None:
        document, other = new_document(), new_document()
        # More than one page holds, and one that was replaced.
        texts = {n: f"text {n} 检索 😀" for n in range(600)}
        await store.upsert(shared, [row(document, n, text="old") for n in range(3)])
        await store.upsert(shared, [row(document, n, text=text) for n, text in texts.items()] + [row(other)])
        pages = [page async for page in store.texts(shared, document)]
        assert len(pages) > 1
        found = [(each.id, each.passage) for page in pages for each in page]
        assert sorted(found) == sorted((ChunkId(f"{document}/{n}"), text) for n, text in texts.items())

    async def test_with_their_titles(self, store: VectorStore, shared: StoreName) -> None:
        document = new_document()
        await store.upsert(shared, [replace(row(document, text="text"), title="标题 “title”")])
        (page,) = [page async for page in store.texts(shared, document)]
        assert page == [StoredText(ChunkId(f"{document}/0"), "标题 “title”\ntext")]

    async def test_of_the_longest_more_than_one_message_holds(self, store: VectorStore) -> None:
        # Without words, which Milvus Lite needs a tenth of a second to find in texts so long.
        name, document, longest = await created(store), new_document(), "!" * 65_535
        await store.upsert(name, [row(document, n, text=longest) for n in range(1_040)])
        sizes = [len(page) async for page in store.texts(name, document) if all(e.passage == longest for e in page)]
        assert sum(sizes) == 1_040
        await store.drop_collection(name)

    async def test_an_unknown_document_has_none(self, store: VectorStore, shared: StoreName) -> None:
        assert [page async for page in store.texts(shared, new_document())] == []


class TestChunks:
    async def test_those_named_that_are_there_as_they_were_written(self, store: VectorStore, shared: StoreName) -> None:
        one, other = new_document(), DocumentId('quo"ted ' + new_document())
        rows = [
            replace(row(document, n, text=f"text {n}"), title="标题") for document in (one, other) for n in range(4)
        ]
        await store.upsert(shared, rows)
        found = await store.chunks(shared, {one: [1, 2, 9], other: {3}, new_document(): [0]})
        assert found == {(one, 1): rows[1].chunk, (one, 2): rows[2].chunk, (other, 3): rows[7].chunk}
        assert await store.chunks(shared, {}) == {}

    async def test_more_than_one_call_holds(self, store: VectorStore, shared: StoreName) -> None:
        document = new_document()
        await store.upsert(shared, [row(document, n) for n in range(600)])
        assert len(await store.chunks(shared, {document: range(500)})) == 500
        await store.prune(shared, {document: []})


class TestVectors:
    async def test_they_are_exactly_what_was_written(self, store: VectorStore, shared: StoreName) -> None:
        document = new_document()
        values = np.array([[1 / 3, -0.0, 1e-38, 3e38], [0.1, 0.2, 0.3, 1e-45], [3, 4, 0, 0]], dtype=np.float32)
        rows = [replace(row(document, n), vector=vector) for n, vector in enumerate(values)]
        await store.upsert(shared, rows)
        found = await store.vectors(shared, [*ids(rows), ChunkId("no such")])
        assert set(found) == set(ids(rows))
        for each in rows:
            assert found[each.chunk.id].dtype == np.float32
            assert found[each.chunk.id].tobytes() == each.vector.tobytes()
        assert await store.vectors(shared, []) == {}

    async def test_of_the_most_dimensions_more_than_one_message_holds(self, store: VectorStore) -> None:
        name = await created(store, dimension=32_768)
        vectors = np.random.default_rng(0).normal(size=(520, 32_768)).astype(np.float32)
        rows = [replace(row(DocumentId("d"), n), vector=vector) for n, vector in enumerate(vectors)]
        await store.upsert(name, rows)
        found = await store.vectors(name, ids(rows))
        assert all((found[each.chunk.id] == each.vector).all() for each in rows)
        await store.drop_collection(name)


class TestEvery:
    async def test_each_chunk_once_right_after_it_was_written(self, store: VectorStore, many: StoreName) -> None:
        """More than one answer of a server holds, replaced and deleted among them, and no wait in between."""
        changed = [row(DocumentId("changed"), n, chunk_id=f"c{n}") for n in range(0, MANY, 50)]
        await store.upsert(many, changed)
        await store.delete(many, [ChunkId(f"c{n}") for n in range(25, MANY, 50)])
        pages = [page async for page in store.every(many)]
        found = [each for page in pages for each in page]
        assert len(pages) > 1
        assert len(found) == len({chunk_id for chunk_id, _ in found})
        assert dict(found) == {f"c{n}": "changed" if n % 50 == 0 else f"d{n % 3}" for n in range(MANY) if n % 50 != 25}

    async def test_an_empty_collection_has_none(self, store: VectorStore) -> None:
        name = await created(store)
        assert [page async for page in store.every(name)] == []
        await store.drop_collection(name)
