"""Writes chunked documents into the store: packs the chunks of all documents into windows, and closes each document as
soon as its last chunk is found there.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice

from ingestion.errors import Cancelled, NotReadBack
from ingestion.pipeline.document_chunks import ChunkedDocument
from ingestion.pipeline.embedding import NOTHING_REUSABLE, ChunkEmbedder, ChunkVector, ReusableVectors
from ingestion.pipeline.outcomes import failure
from ingestion.pipeline.stale_writes import StaleWriteRepair
from ingestion.ports import Catalog
from ingestion.types import Claim, Collection, DocumentRecord, Outcome, digest_of
from retrieval.errors import StoreFailed, TandemError
from retrieval.filters.tree import KeyType
from retrieval.ports import Embedder, VectorStore
from retrieval.types import Chunk, ChunkId, EmbeddedChunk

WINDOW_CHUNKS = 256
"""Chunks that are embedded and written at a time: several full engine steps, and a bound on the memory for vectors."""


@dataclass(slots=True)
class Work:
    """One document that is being written to the store."""

    claim: Claim
    document: ChunkedDocument
    known: ReusableVectors | None = None
    ids: set[ChunkId] = field(default_factory=set)
    """Tokens of the chunks that were embedded so far."""
    tokens: int = 0
    truncated_tokens: int = 0
    reused_chunks: int = 0
    written: bool = False
    """Whether a chunk of it was sent to the store."""
    pruned: bool = False
    """Whether chunks of the version before were deleted."""
    over: bool = False
    """Ended, well or badly, or lost to another worker."""
    may_stop: bool = True
    """Whether the store can go back to what it held before this version."""

    @property
    def record(self) -> DocumentRecord:
        return self.claim.record

    @property
    def is_fresh(self) -> bool:
        """Whether the store holds nothing of it."""
        return self.record.searchable_at is None and self.record.rollback_ids is None


Window = list[tuple[Work, Chunk]]
_Error = tuple[Work, TandemError]


class Writer:
    def __init__(self, catalog: Catalog, store: VectorStore, stale_writes: StaleWriteRepair) -> None:
        self._catalog = catalog
        self._store = store
        self._stale_writes = stale_writes

    async def write(
        self, collection: Collection, embedder: Embedder, documents: Sequence[tuple[Claim, ChunkedDocument]]
    ) -> AsyncGenerator[list[Outcome], None]:
        """Yields outcomes as they become certain, one for each claim whose lease is not lost; the shortest documents
        first.

        The next window is embedded while the last one is written.
        """
        vectors = ChunkEmbedder(embedder, self._store, collection)
        works = [
            Work(claim, document) for claim, document in sorted(documents, key=lambda document: len(document[1].spans))
        ]
        writing: asyncio.Task[list[Outcome]] | None = None
        try:
            for window in _windows(works):
                rows, errors = await _embed(vectors, window, collection.metadata_keys)
                if writing:
                    yield await writing
                    writing = None
                if errors:
                    yield [_fail(work, error) for work, error in errors]
                writing = asyncio.create_task(self._store_window(collection, window, rows))
            if writing:
                yield await writing
        except TandemError as error:
            if writing:
                with suppress(TandemError):
                    yield await writing
            yield [_fail(work, error) for work in works if not work.over]
        finally:
            if writing:
                writing.cancel()
                await asyncio.wait([writing])

    async def _store_window(
        self, collection: Collection, window: Window, rows: Sequence[EmbeddedChunk]
    ) -> list[Outcome]:
        outcomes = await self._stop(collection, _works(window))
        await self._begin_replacing(_works(window))
        works = [work for work in _works(window) if not work.over]
        errors = await self._upsert(collection, works, rows)
        outcomes += [_fail(work, error) for work, error in errors]
        whole = [work for work, chunk in window if not work.over and chunk.ordinal == len(work.document.spans) - 1]
        return outcomes + await self._close(collection, whole)

    async def _begin_replacing(self, works: Sequence[Work]) -> None:
        """Has the catalog record what search finds of documents, before the first write of their next version."""
        first = [work for work in works if not work.over and not work.written and work.record.searchable_at is not None]
        if first:
            known = [(work.claim, work.known.ids if work.known else frozenset()) for work in first]
            held = await self._catalog.begin_replacing(known)
            for work in first:
                work.over = work.claim.token not in held

    async def _upsert(
        self, collection: Collection, works: Sequence[Work], rows: Sequence[EmbeddedChunk]
    ) -> list[_Error]:
        """Writes the rows of `works`; if the store refuses one document, only that one fails."""
        ids = {work.record.document.id for work in works}
        for work in works:
            work.written = True
        try:
            await self._store.upsert(collection.store_name, [row for row in rows if row.chunk.document_id in ids])
        except StoreFailed as error:
            if len(works) == 1:
                return [(works[0], error)]
            parts = [await self._upsert(collection, [work], rows) for work in works]
            return [error for part in parts for error in part]
        return []

    async def _close(self, collection: Collection, works: Sequence[Work]) -> list[Outcome]:
        """Removes what is left of earlier versions and attempts, and checks for every chunk."""
        outcomes = await self._stop(collection, [work for work in works if not work.is_fresh])
        works = [work for work in works if not work.over]
        keep = {work.record.document.id: work.ids for work in works if not work.is_fresh}
        if keep:
            for work in works:
                work.pruned = not work.is_fresh
            await self._store.prune(collection.store_name, keep)
        found = await self._store.present(collection.store_name, [id_ for work in works for id_ in work.ids])
        now = datetime.now(UTC)
        # Only now it is certain that everything was written under the lease.
        lost = await self._catalog.cancelled([work.claim for work in works])
        for work in works:
            if work.claim.token in lost and not await self._is_cancelled(work):
                await self._lose(collection, work)
                continue
            work.over = True
            if missing := len(work.ids - found):
                problem = NotReadBack(f"{missing} of {len(work.ids)} chunks were written and not found afterwards.")
                outcomes.append(_fail(work, problem))
            else:
                outcomes.append(
                    Outcome(
                        work.claim,
                        chunks=len(work.ids),
                        tokens=work.tokens,
                        truncated_tokens=work.truncated_tokens,
                        reused_chunks=work.reused_chunks,
                        chunk_digest=digest_of(work.ids),
                        searchable_at=now,
                        report=replace(work.document.parsed.report, title=work.document.title),
                        language=work.document.language or None,
                    )
                )
        return outcomes

    async def _stop(self, collection: Collection, works: Sequence[Work]) -> list[Outcome]:
        """Ends cancelled documents, and drops those that another worker has taken over."""
        asked = await self._catalog.cancelled([work.claim for work in works if not work.over]) if works else set()
        outcomes = []
        for work in works:
            if work.over or work.claim.token not in asked:
                continue
            if not await self._is_cancelled(work):
                await self._lose(collection, work)
            elif work.may_stop:
                outcomes.append(_fail(work, Cancelled("The job was cancelled before the document was written.")))
        return outcomes

    async def _is_cancelled(self, work: Work) -> bool:
        """Returns whether the work is cancelled, as opposed to lost: the version is still the current one,
        and marked.
        """
        document = work.record.document
        record = (await self._catalog.documents_named(document.collection, [document.id])).get(document.id)
        return record is not None and record.cancelled and record.version == work.record.version

    async def _lose(self, collection: Collection, work: Work) -> None:
        work.over = True
        if work.written:
            await self._stale_writes.settle(
                collection.store_name, work.claim, written=frozenset(work.ids), deleted=work.pruned
            )


def _fail(work: Work, error: TandemError) -> Outcome:
    """Marks a document as failed. The receiver of the outcome removes what was written, unless it is retried."""
    work.over = True
    return failure(work.claim, error, written=work.written)


async def _embed(
    vectors: ChunkEmbedder, window: Window, metadata_keys: Mapping[str, KeyType]
) -> tuple[list[EmbeddedChunk], list[_Error]]:
    """Returns the rows of the window, and the documents that the engine fails on."""
    for work in _works(window):
        if work.known is None:
            work.known = NOTHING_REUSABLE if work.is_fresh else await vectors.known(work.record.document.id)
            # If the work was interrupted after it had begun to delete the previous version, only the new one can be
            # complete.
            work.may_stop = work.known.ids >= (work.record.rollback_ids or frozenset())
    asked = [(work.document.title, chunk, work.known or NOTHING_REUSABLE) for work, chunk in window]
    made = await vectors.make(asked)
    rows: list[EmbeddedChunk] = []
    errors: dict[int, _Error] = {}
    for (work, chunk), result in zip(window, made, strict=True):
        if isinstance(result, ChunkVector):
            rows.append(_row(work, chunk, result, metadata_keys))
        else:
            errors[id(work)] = work, result
    return rows, list(errors.values())


def _windows(works: Sequence[Work]) -> Iterator[Window]:
    def stream() -> Iterator[tuple[Work, Chunk]]:
        for work in works:
            for chunk in work.document.chunks():
                if work.over:
                    break
                work.ids.add(chunk.id)
                work.tokens += chunk.tokens
                yield work, chunk

    chunks = stream()
    while window := list(islice(chunks, WINDOW_CHUNKS)):
        yield window


def _works(window: Window) -> list[Work]:
    """Returns the documents in a window, each once."""
    return list({id(work): work for work, _ in window}.values())


def _row(work: Work, chunk: Chunk, made: ChunkVector, metadata_keys: Mapping[str, KeyType]) -> EmbeddedChunk:
    work.truncated_tokens += made.truncated_tokens
    work.reused_chunks += made.reused
    document = work.record.document
    return EmbeddedChunk(
        chunk=chunk,
        vector=made.vector,
        title=work.document.title,
        media_type=document.media_type,
        partition=document.partition,
        metadata=document.metadata,
        ingested_at=work.record.ingested_at,
        metadata_keys=metadata_keys,
        groups=document.groups,
        language=work.document.language,
    )
