"""Rows for the tests of vector stores: names that no other test has, directions whose cosines are plain to see."""

from collections.abc import Sequence
from itertools import count

import numpy as np

from retrieval.ports import VectorStore
from retrieval.types import Chunk, ChunkId, CollectionSpec, DocumentId, EmbeddedChunk, StoreName, Vector

DIMENSION = 4
EAST, NORTH_EAST, NORTH, WEST = (1, 0), (0.6, 0.8), (0, 1), (-1, 0)
NUMBERS = count(1)


async def created(store: VectorStore, dimension: int = DIMENSION) -> StoreName:
    name = new_name()
    await store.create_collection(name, CollectionSpec(dimension))
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
