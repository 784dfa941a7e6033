"""BM25 of the embedded Milvus Lite against the formula, over rows in files, rows not yet in files, and rows no longer
there."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from math import log

import numpy as np
import pytest
from pymilvus import CollectionSchema

from retrieval.errors import StoreFailed
from retrieval.stores.milvus import store as stores
from retrieval.stores.milvus.schema import BM25_B as B
from retrieval.stores.milvus.schema import BM25_K1 as K1
from retrieval.stores.milvus.schema import ServerTraits, collection_schema
from retrieval.stores.milvus.store import MilvusStore
from retrieval.stores.milvus_lite import flush
from retrieval.text.passages import passage
from retrieval.text.words import of_query, of_text
from retrieval.types import Chunk, ChunkId, CollectionSpec, DocumentId, EmbeddedChunk, StoreName

NAME = StoreName("words")
WORDS = [
    "the",
    "harbour",
    "harbours",
    "crane",
    "cranes",
    "lifting",
    "lifted",
    "rust",
    "storm",
    "起重机",
    "港口",
    "检索",
]
QUIET_S = 0.1


def a_row(number: int, rng: random.Random) -> EmbeddedChunk:
    text = " ".join(rng.choices(WORDS, k=rng.randint(1, 30)))
    chunk = Chunk(ChunkId(f"c{number}"), DocumentId(f"d{number}"), 0, text, start=0, end=len(text), tokens=1)
    return EmbeddedChunk(
        chunk, np.ones(4, dtype=np.float32), title=rng.choice(["", "Storm"]), partition=f"p{number % 3}"
    )


def bm25(rows: Mapping[ChunkId, EmbeddedChunk], query: str, partition: str | None) -> dict[ChunkId, float]:
    counts = {id_: Counter(of_text(passage(row.title, row.chunk.text))) for id_, row in rows.items()}
    mean = sum(each.total() for each in counts.values()) / len(counts)
    scores: Counter[ChunkId] = Counter()
    for term in of_query(query):
        holding = sum(term in each for each in counts.values())
        for id_, each in counts.items():
            weight = each[term] * (K1 + 1) / (each[term] + K1 * (1 - B + B * each.total() / mean))
            scores[id_] += weight * log((len(counts) - holding + 0.5) / (holding + 0.5) + 1)
    return {id_: score for id_, score in scores.items() if score and partition in (None, rows[id_].partition)}


@pytest.mark.parametrize("partition", [None, "p1"])
async def test_scores_are_those_of_the_whole_collection(
    store: MilvusStore, partition: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flush, "_QUIET_S", QUIET_S)
    rng = random.Random(1)
    await store.create_collection(NAME, CollectionSpec(4))
    rows: dict[ChunkId, EmbeddedChunk] = {}

    async def check() -> None:
        for query in ("lift a crane", "STORM in the 港口", "grain grain rust", "nothing of it"):
            hits = await store.search_text(NAME, query, limit=1000, partition=partition)
            expected = bm25(rows, query, partition)
            assert {hit.chunk.id: hit.score for hit in hits} == pytest.approx(expected, rel=1e-5)
            assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)

    async def write(first: int, count: int) -> None:
        written = [a_row(number, rng) for number in range(first, first + count)]
        await store.upsert(NAME, written)
        rows.update({row.chunk.id: row for row in written})

    async def delete(*numbers: int) -> None:
        ids = [ChunkId(f"c{number}") for number in numbers]
        await store.delete(NAME, ids)
        for id_ in ids:
            del rows[id_]

    await write(0, 60)
    await asyncio.sleep(5 * QUIET_S)
    await check()
    await write(60, 40)
    await check()
    await delete(3, 70)
    await write(10, 5)
    await check()
    await asyncio.sleep(5 * QUIET_S)
    await write(12, 1)
    await delete(20, 61)
    await check()
    moved = replace(rows[ChunkId("c1")], partition="p2")
    await store.upsert(NAME, [moved])
    rows[moved.chunk.id] = moved
    await check()


@pytest.mark.parametrize("tokenizer", ["standard", "words_999"])
async def test_words_of_other_releases(store: MilvusStore, monkeypatch: pytest.MonkeyPatch, tokenizer: str) -> None:
    """An earlier one's are kept, a later one's refused."""

    def of_another_release(spec: CollectionSpec, traits: ServerTraits) -> CollectionSchema:
        schema = collection_schema(spec, traits)
        passages = next(field for field in schema.fields if field.name == "passage")
        passages.params["analyzer_params"] = {"tokenizer": tokenizer}
        return schema

    monkeypatch.setattr(stores, "collection_schema", of_another_release)
    await store.create_collection(NAME, CollectionSpec(4))
    row = a_row(1, random.Random(1))
    row = replace(row, chunk=replace(row.chunk, text="PUMP7300 for the docks"))
    if tokenizer == "words_999":
        with pytest.raises(StoreFailed, match="another release"):
            await store.upsert(NAME, [row])
        with pytest.raises(StoreFailed, match="another release"):
            await store.search_text(NAME, "docks", limit=1)
    else:
        await store.upsert(NAME, [row])
        assert [len(await store.search_text(NAME, word, limit=1)) for word in ("pump7300", "the", "7300")] == [1, 1, 0]
