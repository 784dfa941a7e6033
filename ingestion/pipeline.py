"""What happens to a batch of claimed documents: read, parse, cut, embed, upsert, prune, read back.

Every step can be repeated: chunk ids follow from the content, writes are upserts, and what is not of this version is
pruned. A crash anywhere therefore costs time only.
"""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing

import structlog

from ingestion.errors import Cancelled
from ingestion.outcomes import failure
from ingestion.ports import BlobStore, Catalog, Parser
from ingestion.preparation import Preparation, Turn
from ingestion.types import Claim, Outcome
from ingestion.writing import Writer
from retrieval.embedders import Embedders
from retrieval.errors import TandemError
from retrieval.ports import VectorStore
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
        self._preparation = Preparation(catalog, blobs, parser)
        self._embedders = embedders
        self._store = store
        self._writer = Writer(catalog, store)

    @property
    def failure(self) -> str | None:
        """Why no document could be ingested now, whatever it holds."""
        return self._embedders.main.failure or self._store.failure or self._blobs.failure

    async def run(self, claims: Sequence[Claim]) -> AsyncGenerator[list[Outcome], None]:
        """One outcome for each claim whose lease is not lost on the way, reported as soon as it is certain, in no
        particular order. Failures are outcomes, never exceptions of the batch. Without one stay those that the batch
        has no time for (Turn): nothing has begun with them, and they are to be released.

        `Outcome.retry_at` is left to the worker, which knows how often was tried.
        """
        stopped = [claim for claim in claims if claim.record.cancelled and claim.may_stop]
        if stopped:
            yield [failure(claim, Cancelled("The job was cancelled.")) for claim in stopped]
        by_collection: dict[str, list[Claim]] = {}
        for claim in claims:
            if claim not in stopped:
                by_collection.setdefault(claim.record.document.collection, []).append(claim)
        turn = Turn()
        for name, group in by_collection.items():
            async with aclosing(self._run_collection(name, group, turn)) as batches:
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

    async def _run_collection(
        self, name: str, claims: Sequence[Claim], turn: Turn
    ) -> AsyncGenerator[list[Outcome], None]:
        try:
            collection = await self._catalog.collection(name)
            embedder = self._embedders.for_collection(name, collection.fingerprint)
        except TandemError as error:
            yield [failure(claim, error) for claim in claims]
            return
        for portion in _portions(claims):
            async with aclosing(self._preparation.run(embedder, portion, turn)) as parts:
                async for prepared in parts:
                    if prepared.failed:
                        yield prepared.failed
                    async with aclosing(self._writer.write(collection, embedder, prepared.documents)) as batches:
                        async for outcomes in batches:
                            yield outcomes


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
