"""Few chunks among many: however narrow a filter is, a search finds every chunk that matches, the nearest first."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from retrieval.filters.evaluate import matches
from retrieval.filters.parse import parse_filter
from retrieval.filters.tree import And, Filter, InGroups
from retrieval.ports import VectorStore
from retrieval.types import Chunk, ChunkId, CollectionSpec, DocumentId, EmbeddedChunk, StoreName
from tests.support.stores.vector_store import new_name

ROWS, DIMENSION = 8_000, 32
"""Enough for a Milvus server to make an index of rows that it has not stored yet."""
EVERY = 100
"""One chunk of so many is of the kind that the filters select."""
KEYS = {"declared": "text"}
BATCH = 500
RANDOM = np.random.default_rng(7)
VECTORS = RANDOM.standard_normal((ROWS + 1, DIMENSION), dtype=np.float32)
QUERY = VECTORS[ROWS]


def _row(number: int) -> EmbeddedChunk:
    few = number % EVERY == 0
    kind = "few" if few else "many"
    text = f"kiln {'wood ' * (1 + number % 7)}" if number % 3 == 0 else "glaze"
    chunk = Chunk(ChunkId(f"{number:05}"), DocumentId(f"d{number // 10}"), number % 10, text, 0, len(text), 1)
    return EmbeddedChunk(
        chunk,
        VECTORS[number],
        partition=kind,
        metadata={"declared": kind, "open": kind},
        groups=(kind, "all"),
        metadata_keys=KEYS,
    )


ALL = [_row(number) for number in range(ROWS)]


def parsed(**tree: object) -> Filter:
    return parse_filter(tree, KEYS)


FILTERS: dict[str, Filter | None] = {
    "groups": InGroups(("nobody", "few")),
    "declared metadata": parsed(type="eq", key="metadata.declared", value="few"),
    "undeclared metadata": parsed(type="eq", key="metadata.open", value="few"),
    "documents": parsed(type="in", key="document_id", value=[f"d{number}" for number in range(0, 700, 70)]),
    "a partition": None,
    "groups within a condition": And((InGroups(("few",)), parsed(type="lt", key="chunk_id", value="03000"))),
    "one chunk": parsed(type="eq", key="chunk_id", value="04321"),
}


@pytest.fixture(scope="module")
async def filled(store: VectorStore) -> StoreName:
    name = new_name()
    await store.create_collection(name, CollectionSpec(DIMENSION, KEYS, principals=True))
    for first in range(0, ROWS, BATCH):
        await store.upsert(name, ALL[first : first + BATCH])
    assert await store.count(name) == ROWS
    return name


@pytest.mark.parametrize("limit", [5, 100, 700])
@pytest.mark.parametrize("kind", FILTERS)
async def test_every_chunk_that_matches_is_found(store: VectorStore, filled: StoreName, kind: str, limit: int) -> None:
    filter = FILTERS[kind]
    partition = "few" if filter is None else None
    hits = await store.search(filled, QUERY, limit=limit, partition=partition, filter=filter)
    expected = nearest(lambda each: matches(filter, each) if filter else each.partition == partition)
    assert [hit.chunk.id for hit in hits] == [id_ for id_, _ in expected[:limit]]
    assert [hit.score for hit in hits] == pytest.approx([score for _, score in expected[:limit]], abs=1e-5)


@pytest.mark.parametrize("kind", FILTERS)
async def test_every_chunk_that_matches_is_found_by_words(store: VectorStore, filled: StoreName, kind: str) -> None:
    if not (await store.capabilities()).sparse:
        pytest.skip("the server has no BM25")
    filter = FILTERS[kind]
    partition = "few" if filter is None else None
    hits = await store.search_text(filled, "kiln", limit=100, partition=partition, filter=filter)
    expected = nearest(lambda each: matches(filter, each) if filter else each.partition == partition)
    assert {hit.chunk.id for hit in hits} == {id_ for id_, _ in expected if "kiln" in ALL[int(id_)].chunk.text}


async def test_hits_are_whole_however_they_are_found(store: VectorStore, filled: StoreName) -> None:
    for hit in await store.search(filled, QUERY, limit=100, filter=FILTERS["groups"]):
        row = ALL[int(hit.chunk.id)]
        assert hit.chunk == replace(row.chunk, tokens=hit.chunk.tokens)
        assert (hit.metadata, hit.partition) == (row.metadata, row.partition)


def nearest(selected: Callable[[EmbeddedChunk], bool]) -> list[tuple[ChunkId, float]]:
    chosen = [number for number, each in enumerate(ALL) if selected(each)]
    vectors = VECTORS[chosen]
    cosines = vectors @ QUERY / np.linalg.norm(vectors, axis=1) / np.linalg.norm(QUERY)
    return [(ALL[chosen[place]].chunk.id, float(cosines[place])) for place in np.argsort(-cosines)]
