"""What every VectorStore does. A new implementation adds the name of a fixture that yields it, started."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrieval.errors import CollectionNotFound, StoreFailed
from retrieval.ports import VectorStore
from retrieval.types import Chunk, ChunkId, CollectionSpec, DocumentId, EmbeddedChunk, Language, StoreName, Vector

IMPLEMENTATIONS = ["lite_embedded_store", "lite_server_store", "milvus_server_store"]
DIMENSION = 4
EAST, NORTH_EAST, NORTH, WEST = (1, 0), (0.6, 0.8), (0, 1), (-1, 0)
NUMBERS = count(1)
HOSTILE = [
    'say "hi"',
    "it's",
    "back\\slash",
    "ends in \\",
    "\\n is not a newline",
    "a\nb\rc\td",
    "{ids}",
    '"] or id != "',
    'x" or 1 == 1 or partition == "',
    "not in",
    "true",
    "100%",
    "中文",
    "𠮷野家 😀",
    "e\u0301",
    "\u2028",
    "\x01\x7f",
    "",
]


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def store(request: pytest.FixtureRequest) -> VectorStore:
    store: VectorStore = request.getfixturevalue(request.param)
    return store


@pytest.fixture(scope="module")
async def shared(store: VectorStore) -> StoreName:
    """A collection for all tests that keep to document ids of their own."""
    return await created(store)


async def created(store: VectorStore, dimension: int = DIMENSION, language: Language = "mixed") -> StoreName:
    name = new_name()
    await store.create_collection(name, CollectionSpec(dimension, language))
    return name


def new_name() -> StoreName:
    return StoreName(f"collection_{next(NUMBERS)}")


def new_document() -> DocumentId:
    return DocumentId(f"document {next(NUMBERS)}")


def direction(point: tuple[float, float]) -> Vector:
    return np.array([*point, *[0] * (DIMENSION - 2)], dtype=np.float32)


def row(
    document_id: DocumentId,
    ordinal: int = 0,
    *,
    point: tuple[float, float] = EAST,
    text: str = "text",
    partition: str = "",
    chunk_id: str | None = None,
) -> EmbeddedChunk:
    name = ChunkId(f"{document_id}/{ordinal}" if chunk_id is None else chunk_id)
    chunk = Chunk(id=name, document_id=document_id, ordinal=ordinal, text=text, start=0, end=len(text), tokens=1)
    return EmbeddedChunk(chunk=chunk, vector=direction(point), partition=partition)


def ids(rows: Sequence[EmbeddedChunk]) -> list[ChunkId]:
    return [each.chunk.id for each in rows]


async def found(store: VectorStore, name: str, partition: str | None = None, limit: int = 100) -> list[ChunkId]:
    hits = await store.search(name, direction(EAST), limit=limit, partition=partition)
    return [hit.chunk.id for hit in hits]


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
        await store.create_collection(name, CollectionSpec(DIMENSION, "mixed"))
        assert await store.count(name) == 1

    async def test_another_dimension_is_refused(self, store: VectorStore, shared: StoreName) -> None:
        with pytest.raises(StoreFailed, match="4 dimensions, not 8"):
            await store.create_collection(shared, CollectionSpec(8))

    @pytest.mark.parametrize("language", ["zh", "en"])
    async def test_each_language_has_an_analyzer(self, store: VectorStore, language: Language) -> None:
        name = await created(store, language=language)
        await store.upsert(name, [row(new_document(), text="Running 检索 runs")])
        assert await store.count(name) == 1

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
            ),
            vector=direction(NORTH),
            title="标题 — “title”",
            media_type="application/pdf",
            partition="round trip",
            metadata={"名": ["值", {"deep": [1, 2.5, None, True]}], 'quo"te': "\\ \n 😀", "empty": {}, "big": 2**40},
            ingested_at=datetime(2026, 2, 28, 23, 59, 59, 999_000, tzinfo=UTC),
        )
        bare = row(new_document(), partition="round trip", point=WEST)
        await store.upsert(shared, [full, bare])
        assert await store.present(shared, ids([full, bare])) == set(ids([full, bare]))

        first, second = await store.search(shared, direction(NORTH), limit=10, partition="round trip")
        assert first.chunk == full.chunk
        assert (first.title, first.media_type, first.partition) == (full.title, full.media_type, full.partition)
        assert first.metadata == full.metadata
        assert first.ingested_at == full.ingested_at
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


class TestSearch:
    async def test_nearest_first_with_their_cosines(self, store: VectorStore, shared: StoreName) -> None:
        document = new_document()
        points = [WEST, NORTH, NORTH_EAST, (5, 0)]
        await store.upsert(shared, [row(document, n, point=point, partition="order") for n, point in enumerate(points)])
        assert await store.count(shared, document) == 4
        hits = await store.search(shared, direction(EAST), limit=10, partition="order")
        assert [hit.chunk.ordinal for hit in hits] == [3, 2, 1, 0]
        assert [hit.score for hit in hits] == pytest.approx([1, 0.6, 0, -1], abs=1e-5)
        assert all(-1 <= hit.score <= 1 for hit in hits)
        assert len(await store.search(shared, direction(EAST), limit=2, partition="order")) == 2

    async def test_a_partition_restricts(self, store: VectorStore) -> None:
        name, document = await created(store), new_document()
        rows = [row(document, n, partition=partition) for n, partition in enumerate(["red", "blue", ""])]
        await store.upsert(name, rows)
        assert await store.count(name) == 3
        assert set(await found(store, name)) == set(ids(rows))
        for each in rows:
            assert await found(store, name, partition=each.partition) == [each.chunk.id]
        assert await found(store, name, partition="green") == []

    async def test_an_empty_collection_has_no_hits(self, store: VectorStore) -> None:
        assert await found(store, await created(store)) == []

    @pytest.mark.parametrize("limit", [0, 16_385])
    async def test_a_limit_beyond_the_store_is_refused(self, store: VectorStore, shared: StoreName, limit: int) -> None:
        with pytest.raises(StoreFailed, match="16384"):
            await found(store, shared, limit=limit)


class TestHostileValues:
    @pytest.mark.parametrize("value", HOSTILE)
    async def test_ids_and_partitions_are_values_only(self, store: VectorStore, shared: StoreName, value: str) -> None:
        await check_as_values(store, shared, value)

    @given(value=st.text(max_size=40))
    @settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    async def test_any_text_is_a_value_only(self, store: VectorStore, shared: StoreName, value: str) -> None:
        await check_as_values(store, shared, value)


async def check_as_values(store: VectorStore, name: StoreName, value: str) -> None:
    """Finds, restricts to and deletes exactly the row of `value`, with a neighbour that must stay."""
    document, other = DocumentId("d" + value), DocumentId("other")
    rows = [
        row(document, chunk_id="id" + value, partition=value),
        row(other, chunk_id="neighbour of all", partition="neighbour"),
    ]
    await store.upsert(name, rows)
    assert await store.present(name, ids(rows)) == set(ids(rows))
    assert await store.count(name, document) == 1
    assert ChunkId("id" + value) in await found(store, name, partition=value, limit=1000)
    assert await found(store, name, partition="neighbour") == ["neighbour of all"]
    await store.prune(name, {document: [ChunkId("id" + value)]})
    assert await store.count(name, document) == 1
    await store.prune(name, {document: []})
    assert await store.count(name, document) == 0
    assert await store.count(name, other) == 1
