"""Makes vectors for chunks: reuses those of the previous version if the text is unchanged, else calls the embedder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from ingestion.types import Collection
from retrieval.errors import EngineFailed, NotReady
from retrieval.ports import Embedder, VectorStore
from retrieval.text.passages import passage_of
from retrieval.types import Chunk, ChunkId, DocumentId, Lane, Vector
from retrieval.vectors_for import vectors_for


@dataclass(frozen=True, slots=True)
class ReusableVectors:
    """What the store holds of a document's previous version: vectors by embedded passage, and the set of chunk ids."""

    by_passage: Mapping[bytes, ChunkId]
    ids: frozenset[ChunkId]


NOTHING_REUSABLE = ReusableVectors({}, frozenset())


@dataclass(frozen=True, slots=True)
class ChunkVector:
    """One chunk's vector."""

    vector: Vector
    truncated_tokens: int
    reused: bool


class ChunkEmbedder:
    """Embeds chunks for `collection`, whose vectors `embedder` made, and reuses the vectors of unchanged passages."""

    def __init__(self, embedder: Embedder, store: VectorStore, collection: Collection) -> None:
        self._embedder = embedder
        self._store = store
        self._collection = collection

    async def known(self, document_id: DocumentId) -> ReusableVectors:
        """Reads a document's texts page by page and keeps their hashes only."""
        by_passage: dict[bytes, ChunkId] = {}
        ids: set[ChunkId] = set()
        async for page in self._store.texts(self._collection.store_name, document_id):
            by_passage.update((_hash(stored.passage), stored.id) for stored in page)
            ids.update(stored.id for stored in page)
        return ReusableVectors(by_passage, frozenset(ids))

    async def make(self, chunks: Sequence[tuple[str, Chunk, ReusableVectors]]) -> list[ChunkVector | EngineFailed]:
        """Returns one result for each (title, chunk, reusable vectors of its document), in order.

        A text that the engine fails on does not affect the others: the texts are retried document by document. Raises
        EngineDead and its relatives, NotReady, StoreUnavailable.
        """
        passages = [passage_of(title, chunk) for title, chunk, _ in chunks]
        earlier = [
            known.by_passage.get(_hash(text)) if known.ids else None
            for text, (_, _, known) in zip(passages, chunks, strict=True)
        ]
        asked = list({id_ for id_ in earlier if id_ is not None})
        stored = await self._store.vectors(self._collection.store_name, asked) if asked else {}
        reused = {place: stored[id_] for place, id_ in enumerate(earlier) if id_ is not None and id_ in stored}
        missing = [place for place in range(len(passages)) if place not in reused]
        embedded = await self._embed([(chunks[place][1].document_id, passages[place]) for place in missing])
        new = dict(zip(missing, embedded, strict=True))
        return [
            ChunkVector(reused[place], 0, reused=True) if place in reused else new[place]
            for place in range(len(passages))
        ]

    async def _embed(self, texts: Sequence[tuple[DocumentId, str]]) -> list[ChunkVector | EngineFailed]:
        if not texts:
            return []
        if self._embedder.failure:
            # An engine that is known to be down gets no request, so that its failure is not attributed to these
            # documents.
            raise NotReady(self._embedder.failure)
        try:
            with vectors_for(self._collection.store_name):
                embeddings = await self._embedder.embed(
                    [text for _, text in texts],
                    kind="document",
                    lane=Lane.BULK,
                    instruction=self._collection.document_instruction,
                )
        except EngineFailed as error:
            documents = list(dict.fromkeys(document for document, _ in texts))
            if len(documents) == 1:
                return [error] * len(texts)
            parts = [await self._embed([text for text in texts if text[0] == document]) for document in documents]
            return [result for part in parts for result in part]
        return [
            ChunkVector(vector, truncated, reused=False)
            for vector, truncated in zip(embeddings.vectors, embeddings.truncated_tokens, strict=True)
        ]


def _hash(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()
