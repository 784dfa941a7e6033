"""A vector store in memory, for tests whose subject is not the store: exact search, words by their number, filters as
retrieval.filters.evaluate defines them."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence

import numpy as np

from retrieval.errors import CollectionNotFound
from retrieval.filters.evaluate import matches
from retrieval.filters.tree import Filter
from retrieval.text.passages import passage_of
from retrieval.types import (
    Candidate,
    Chunk,
    ChunkId,
    CollectionSpec,
    DocumentId,
    EmbeddedChunk,
    StoreCapabilities,
    StoredText,
    StoreName,
    Vector,
)


class InMemoryStore:
    failure: str | None = None

    def __init__(self) -> None:
        self._rows: dict[str, dict[ChunkId, EmbeddedChunk]] = {}
        self._aliases: dict[str, StoreName] = {}

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def capabilities(self) -> StoreCapabilities:
        return StoreCapabilities(server="memory", version="1", sparse=True)

    async def create_collection(self, name: StoreName, spec: CollectionSpec) -> None:
        self._rows.setdefault(name, {})

    async def has_sections(self, name: str) -> bool:
        return True

    async def drop_collection(self, name: StoreName) -> None:
        self._rows.pop(name, None)

    async def list_collections(self) -> Sequence[StoreName]:
        return [StoreName(name) for name in self._rows]

    async def point_alias(self, alias: str, name: StoreName) -> None:
        self._aliases[alias] = name

    async def drop_alias(self, alias: str) -> None:
        self._aliases.pop(alias, None)

    async def upsert(self, name: str, rows: Sequence[EmbeddedChunk]) -> None:
        self._of(name).update({row.chunk.id: row for row in rows})

    async def prune(self, name: str, keep: Mapping[DocumentId, Collection[ChunkId]]) -> None:
        rows = self._of(name)
        for id_, row in list(rows.items()):
            if row.chunk.document_id in keep and id_ not in keep[row.chunk.document_id]:
                del rows[id_]

    async def delete(self, name: str, ids: Sequence[ChunkId]) -> None:
        for id_ in ids:
            self._of(name).pop(id_, None)

    async def texts(self, name: str, document_id: DocumentId) -> AsyncIterator[Sequence[StoredText]]:
        yield [
            StoredText(row.chunk.id, passage_of(row.title, row.chunk))
            for row in self._of(name).values()
            if row.chunk.document_id == document_id
        ]

    async def chunks(
        self, name: str, wanted: Mapping[DocumentId, Collection[int]], *, filter: Filter | None = None
    ) -> Mapping[tuple[DocumentId, int], Chunk]:
        every = [row.chunk for row in self._looked_at(name, None, filter)]
        return {
            (chunk.document_id, chunk.ordinal): chunk
            for chunk in every
            if chunk.ordinal in wanted.get(chunk.document_id, ())
        }

    async def vectors(self, name: str, ids: Sequence[ChunkId]) -> Mapping[ChunkId, Vector]:
        rows = self._of(name)
        return {id_: rows[id_].vector for id_ in ids if id_ in rows}

    async def every(self, name: str) -> AsyncIterator[Sequence[tuple[ChunkId, DocumentId]]]:
        yield [(row.chunk.id, row.chunk.document_id) for row in self._of(name).values()]

    async def present(self, name: str, ids: Sequence[ChunkId]) -> set[ChunkId]:
        return set(ids) & self._of(name).keys()

    async def count(self, name: str, document_id: DocumentId | None = None) -> int:
        return sum(document_id in (None, row.chunk.document_id) for row in self._of(name).values())

    async def search(
        self, name: str, vector: Vector, *, limit: int, partition: str | None = None, filter: Filter | None = None
    ) -> Sequence[Candidate]:
        scored = [(float(np.dot(row.vector, vector)), row) for row in self._looked_at(name, partition, filter)]
        return _best(scored, limit)

    async def search_text(
        self, name: str, text: str, *, limit: int, partition: str | None = None, filter: Filter | None = None
    ) -> Sequence[Candidate]:
        words = set(text.lower().split())
        rows = self._looked_at(name, partition, filter)
        scored = [(float(len(words & set(row.chunk.text.lower().split()))), row) for row in rows]
        return _best([each for each in scored if each[0]], limit)

    def _looked_at(self, name: str, partition: str | None, filter: Filter | None) -> list[EmbeddedChunk]:
        return [
            row
            for row in self._of(name).values()
            if partition in (None, row.partition) and (filter is None or matches(filter, row))
        ]

    def _of(self, name: str) -> dict[ChunkId, EmbeddedChunk]:
        found = self._rows.get(self._aliases.get(name, name))
        if found is None:
            raise CollectionNotFound(f"There is no collection {name!r} in the store.")
        return found


def _best(scored: Sequence[tuple[float, EmbeddedChunk]], limit: int) -> list[Candidate]:
    ordered = sorted(scored, key=lambda each: (-each[0], each[1].chunk.id))[:limit]
    return [
        Candidate(
            chunk=row.chunk,
            score=score,
            title=row.title,
            media_type=row.media_type,
            partition=row.partition,
            metadata=row.metadata,
            ingested_at=row.ingested_at,
            language=row.language,
        )
        for score, row in ordered
    ]
