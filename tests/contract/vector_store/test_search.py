"""Nearest chunks, and values that try to be more than values."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrieval.errors import StoreFailed, Unsupported
from retrieval.ports import VectorStore
from retrieval.types import ChunkId, DocumentId, StoreName
from tests.support.stores.vector_store import (
    EAST,
    NORTH,
    NORTH_EAST,
    WEST,
    created,
    direction,
    found,
    ids,
    new_document,
    row,
)

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


class TestWords:
    @pytest.fixture(autouse=True)
    async def _only_where_the_server_has_bm25(self, store: VectorStore, shared: StoreName) -> None:
        capabilities = await store.capabilities()
        if not capabilities.sparse:
            with pytest.raises(Unsupported, match="BM25"):
                await store.search_text(shared, "text", limit=1)
            pytest.skip(capabilities.sparse_missing)

    async def test_those_that_share_words_best_first(self, store: VectorStore) -> None:
        name = await created(store)
        texts = {
            "kiln": "The kiln is fired with beech wood.",
            "kilns": "A kiln beside a kiln, and wood for the kiln.",
            "bread": "Bread and butter.",
            "窑": "窑炉在高温下保温一小时。",
        }
        await store.upsert(name, [row(DocumentId(key), text=text) for key, text in texts.items()])
        hits = await store.search_text(name, "KILN with beech", limit=10)
        assert [hit.chunk.document_id for hit in hits] == ["kiln", "kilns"]
        assert hits[0].score > hits[1].score > 0
        assert [hit.chunk.document_id for hit in await store.search_text(name, "kiln", limit=1)] == ["kilns"]
        assert [hit.chunk.text for hit in await store.search_text(name, "窑炉的温度", limit=10)] == [texts["窑"]]

    @pytest.mark.parametrize(
        ("query", "best"),
        [
            ("李四光", "name"),
            ("锌", "zinc"),
            ("锌的价格", "zinc"),
            ("臺灣的國際機場", "airport"),
            ("PUMP7300", "pump"),
            ("pump 7300", "pump"),
            ("7300", "pump"),
            ("Ｐｕｍｐ７３００", "pump"),
            ("ISO/TS16949-2009", "standard"),
            ("TS 16949", "standard"),
            ("Kestrel", "release"),
            ("kestrel 3.8", "release"),
            ("creme brulee", "dessert"),
        ],
    )
    async def test_names_codes_and_other_spellings_are_found(
        self, store: VectorStore, spellings: StoreName, query: str, best: str
    ) -> None:
        hits = await store.search_text(spellings, query, limit=10)
        assert hits[0].chunk.document_id == best

    @pytest.fixture(scope="class")
    async def spellings(self, store: VectorStore) -> StoreName:
        name = await created(store)
        texts = {
            "name": "昨天李四光老师讲了地质力学。",
            "zinc": "锌价上涨",
            "airport": "台湾的国际机场很大",
            "pump": "Die Pumpe PUMP7300 kostet 24,500元。",
            "part": "Pump 73 with 00 seals, pump and pump.",
            "standard": "Made to ISO/TS 16949-2009.",
            "other standard": "Made to ISO/TS 29001-2010, ISO and TS alike.",
            "release": "Needs Kestrel3.8 or newer.",
            "older release": "Needs Kestrel 2.9, or 3.1 with patch 8.",
            "dessert": "Crème brûlée",
        }
        await store.upsert(name, [row(DocumentId(key), text=text) for key, text in texts.items()])
        return name

    async def test_a_partition_restricts(self, store: VectorStore, shared: StoreName) -> None:
        rows = [row(new_document(), text="a zebra", partition=f"zebras {number}") for number in range(3)]
        await store.upsert(shared, rows)
        hits = await store.search_text(shared, "zebra", limit=10, partition="zebras 1")
        assert [hit.chunk.id for hit in hits] == [rows[1].chunk.id]

    @pytest.mark.parametrize("text", [*HOSTILE, "!!!", "no such words", "x" * 100_000, "检索" * 10_000])
    async def test_any_text_is_a_question(self, store: VectorStore, shared: StoreName, text: str) -> None:
        await store.search_text(shared, text, limit=3)


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
