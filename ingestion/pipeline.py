"""What happens to a batch of claimed documents: read, parse, cut, embed, upsert, prune, read back.

Every step can be repeated: chunk ids follow from the content, writes are upserts, and what is not of this version is
pruned. A crash anywhere therefore costs time only.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing

import structlog

from ingestion.cutting import CutDocument, cut
from ingestion.errors import BlobMissing, Cancelled, NoText
from ingestion.outcomes import failure
from ingestion.ports import BlobStore, Catalog, Parser
from ingestion.types import Claim, Outcome, ParsedDocument
from ingestion.writing import Writer
from retrieval.embedders import Embedders
from retrieval.errors import TandemError
from retrieval.ports import Embedder, VectorStore
from retrieval.types import DocumentId

log = structlog.get_logger()

PORTION_BYTES = 64 * 2**20
"""Originals that are read at a time. A single larger one is read alone."""
LARGE_BYTES = 2**20
"""An original of more is worked on alone, after the others, so that they need not wait until it is read and cut."""


class Pipeline:
    def __init__(
        self, *, catalog: Catalog, blobs: BlobStore, parser: Parser, embedders: Embedders, store: VectorStore
    ) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._parser = parser
        self._embedders = embedders
        self._store = store
        self._writer = Writer(catalog, store)

    @property
    def failure(self) -> str | None:
        """Why no document could be ingested now, whatever it holds."""
        return self._embedders.main.failure or self._store.failure or self._blobs.failure

    async def run(self, claims: Sequence[Claim]) -> AsyncGenerator[list[Outcome], None]:
        """One outcome for each claim whose lease is not lost on the way, told as soon as it is certain, in no
        particular order. Failures are outcomes, never exceptions of the batch.

        `Outcome.retry_at` is left to the worker, which knows how often was tried.
        """
        stopped = [claim for claim in claims if claim.record.cancelled and claim.may_stop]
        if stopped:
            yield [failure(claim, Cancelled("The job was cancelled.")) for claim in stopped]
        by_collection: dict[str, list[Claim]] = {}
        for claim in claims:
            if claim not in stopped:
                by_collection.setdefault(claim.record.document.collection, []).append(claim)
        for name, group in by_collection.items():
            async with aclosing(self._run_collection(name, group)) as batches:
                async for outcomes in batches:
                    yield outcomes

    async def clear(self, claims: Sequence[Claim]) -> None:
        """Removes what the store may hold of documents that were never searchable and never will be."""
        by_collection: dict[str, dict[DocumentId, tuple[()]]] = {}
        for claim in claims:
            document = claim.record.document
            by_collection.setdefault(document.collection, {})[document.id] = ()
        for name, nothing in by_collection.items():
            collection = await self._catalog.collection(name)
            await self._store.prune(collection.store_name, nothing)

    async def _run_collection(self, name: str, claims: Sequence[Claim]) -> AsyncGenerator[list[Outcome], None]:
        try:
            collection = await self._catalog.collection(name)
            embedder = self._embedders.for_collection(name, collection.fingerprint)
        except TandemError as error:
            yield [failure(claim, error) for claim in claims]
            return
        for portion in _portions(claims):
            prepared, failed = await self._prepare(embedder, portion)
            if failed:
                yield failed
            async with aclosing(self._writer.write(collection, embedder, prepared)) as batches:
                async for outcomes in batches:
                    yield outcomes

    async def _prepare(
        self, embedder: Embedder, claims: Sequence[Claim]
    ) -> tuple[list[tuple[Claim, CutDocument]], list[Outcome]]:
        try:
            blobs = await self._blobs.get({claim.record.document.sha256 for claim in claims})
        except TandemError as error:
            return [], [failure(claim, error) for claim in claims]
        parsed = await asyncio.gather(*(self._parse(claim, blobs) for claim in claims))
        # In one thread for all: a switch for each of many short documents would cost more than the work.
        return await asyncio.to_thread(_cut, embedder, claims, parsed)

    async def _parse(self, claim: Claim, blobs: Mapping[str, bytes]) -> ParsedDocument | TandemError:
        document = claim.record.document
        data = blobs.get(document.sha256)
        if data is None:
            return BlobMissing("The original is missing or damaged: ingest the document again.", sha256=document.sha256)
        try:
            return await self._parser.parse(data, document.media_type)
        except TandemError as error:
            return error


def _cut(
    embedder: Embedder, claims: Sequence[Claim], parsed: Sequence[ParsedDocument | TandemError]
) -> tuple[list[tuple[Claim, CutDocument]], list[Outcome]]:
    done: list[tuple[Claim, CutDocument]] = []
    failed: list[Outcome] = []
    for claim, result in zip(claims, parsed, strict=True):
        if isinstance(result, TandemError):
            failed.append(failure(claim, result))
            continue
        document = cut(claim.record.document, result, embedder)
        if document.spans:
            done.append((claim, document))
        else:
            failed.append(failure(claim, NoText("The document holds no text.")))
    return done, failed


def _portions(claims: Sequence[Claim]) -> Iterator[list[Claim]]:
    """Small documents together, up to PORTION_BYTES; large ones after them, one by one."""
    portion: list[Claim] = []
    size = 0
    for claim in sorted(claims, key=lambda claim: claim.record.document.size > LARGE_BYTES):
        bytes_ = claim.record.document.size
        if portion and (size + bytes_ > PORTION_BYTES or bytes_ > LARGE_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(claim)
        size += bytes_
    if portion:
        yield portion
