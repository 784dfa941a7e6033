"""Writing: what was written is there, in the place of what was there before."""

import asyncio
from datetime import UTC, datetime

import numpy as np
import pytest

from retrieval.errors import StoreFailed
from retrieval.ports import VectorStore
from retrieval.types import Chunk, ChunkId, DocumentId, EmbeddedChunk, StoreName
from tests.support.stores.vector_store import (
    EAST,
    NORTH,
    WEST,
    created,
    direction,
    ids,
    new_document,
    row,
)


class TestRows:
    async def test_every_field_comes_back(self, store: VectorStore, shared: StoreName) -> None:
        text = "检索增强生成 \"quoted\" 'single' \\ \n\t 👩‍🔬 𠮷"
        full = EmbeddedChunk(
            chunk=Chunk(
                id=ChunkId("round trip 1"),
                document_id=DocumentId("https://example.org/a?b=c&d='e'"),
                ordinal=7,
                text=text,
                start=1_000_000,
                end=1_000_000 + len(text),
                tokens=33,
                page=12,
                section=("指南 “guide”", "\\ 𠮷"),
                header="| a | b |\n| - | - |",
                path="指南 > guide",
            ),
            vector=direction(NORTH),
            title="标题 — “title”",
            media_type="application/pdf",
            partition="round trip",
            metadata={"名": ["值", {"deep": [1, 2.5, None, True]}], 'quo"te': "\\ \n 😀", "empty": {}, "big": 2**40},
            ingested_at=datetime(2026, 2, 28, 23, 59, 59, 999_000, tzinfo=UTC),
            language="zh",
        )
        bare = row(new_document(), partition="round trip", point=WEST)
        await store.upsert(shared, [full, bare])
        assert await store.present(shared, ids([full, bare])) == set(ids([full, bare]))

        first, second = await store.search(shared, direction(NORTH), limit=10, partition="round trip")
        assert first.chunk == full.chunk
        assert (first.title, first.media_type, first.partition) == (full.title, full.media_type, full.partition)
        assert first.metadata == full.metadata
        assert first.ingested_at == full.ingested_at
        assert (first.language, second.language) == ("zh", "")
        assert second.chunk == bare.chunk
        assert (second.chunk.page, second.ingested_at, second.metadata, second.title) == (None, None, {}, "")

    async def test_upsert_replaces_by_id(self, store: VectorStore, shared: StoreName) -> None:
        document = new_document()
        await store.upsert(shared, [row(document, text="old", partition="replace A")])
        await store.upsert(shared, [row(document, text="new", partition="replace B", point=NORTH)])
        assert await store.count(shared, document) == 1
        (hit,) = await store.search(shared, direction(NORTH), limit=10, partition="replace B")
        assert hit.chunk.text == "new"
        assert hit.score == pytest.approx(1, abs=1e-5)
        assert await store.search(shared, direction(NORTH), limit=10, partition="replace A") == []

    async def test_of_the_same_id_in_one_call_the_last_stays(self, store: VectorStore, shared: StoreName) -> None:
        document = new_document()
        await store.upsert(shared, [row(document, text=text, partition="last") for text in ("one", "two", "three")])
        assert await store.count(shared, document) == 1
        (hit,) = await store.search(shared, direction(EAST), limit=10, partition="last")
        assert hit.chunk.text == "three"

    async def test_nothing_to_write_is_no_error(self, store: VectorStore, shared: StoreName) -> None:
        await store.upsert(shared, [])
        await store.prune(shared, {})
        assert await store.present(shared, []) == set()

    async def test_more_rows_than_one_message_holds(self, store: VectorStore) -> None:
        name = await created(store, dimension=1024)
        vectors = np.random.default_rng(0).normal(size=(3000, 1024)).astype(np.float32)
        chunks = [row(DocumentId(f"d{number % 7}"), number, text="words " * 80).chunk for number in range(3000)]
        rows = [EmbeddedChunk(chunk, vector) for chunk, vector in zip(chunks, vectors, strict=True)]
        await store.upsert(name, rows)
        assert await store.count(name) == 3000
        assert await store.count(name, DocumentId("d3")) == len(range(3, 3000, 7))
        assert await store.present(name, ids(rows)) == set(ids(rows))
        hits = await store.search(name, vectors[1234], limit=1000)
        assert (hits[0].chunk.ordinal, len(hits)) == (1234, 1000)
        await store.drop_collection(name)

    async def test_text_of_the_most_bytes_fits_and_one_more_is_refused(
        self, store: VectorStore, shared: StoreName
    ) -> None:
        document = new_document()
        await store.upsert(shared, [row(document, text="检" * 21_845, partition="long")])
        assert await store.count(shared, document) == 1
        (hit,) = await store.search(shared, direction(EAST), limit=1, partition="long")
        assert len(hit.chunk.text.encode()) == 65_535
        with pytest.raises(StoreFailed, match=f"{document}/1.*65536 bytes.*65535"):
            await store.upsert(shared, [row(document, 1, text="检" * 21_845 + "x")])

    async def test_what_is_not_unicode_is_refused(self, store: VectorStore, shared: StoreName) -> None:
        with pytest.raises(StoreFailed):
            await store.upsert(shared, [row(new_document(), text="\ud800")])
        with pytest.raises(StoreFailed):
            await store.count(shared, DocumentId("\ud800"))

    async def test_many_writers_at_once(self, store: VectorStore) -> None:
        name = await created(store)
        documents = [new_document() for _ in range(12)]

        async def write(document: DocumentId) -> None:
            rows = [row(document, ordinal) for ordinal in range(40)]
            await store.upsert(name, rows)
            await store.prune(name, {document: ids(rows[:30])})

        async def read() -> None:
            for _ in range(20):
                await store.search(name, direction(EAST), limit=50)

        await asyncio.gather(*(write(document) for document in documents), read())
        assert await store.count(name) == 12 * 30
        assert [await store.count(name, document) for document in documents] == [30] * 12
