"""Processes a batch of claimed documents: read, parse, chunk, embed, upsert, prune, read back. Every step can be
repeated: chunk ids follow from the content, writes are upserts, and chunks of other versions are pruned. A crash
therefore costs time only."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from ingestion.errors import Cancelled
from ingestion.pipeline.outcomes import failure
from ingestion.pipeline.preparation import Preparation, Turn
from ingestion.pipeline.stale_writes import StaleWriteRepair
from ingestion.pipeline.writer import Writer
from ingestion.ports import BlobStore, Catalog, Parser
from ingestion.types import Claim, Collection, DocumentError, Outcome
from retrieval.embedders import Embedders
from retrieval.errors import TandemError
from retrieval.ports import VectorStore

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
        self._stale_writes = StaleWriteRepair(catalog, store)
        self._writer = Writer(catalog, store, self._stale_writes)

    @property
    def failure(self) -> str | None:
        """The reason why no document can be ingested now, whatever its content; None if there is none."""
        return self._embedders.main.failure or self._store.failure or self._blobs.failure

    async def run(self, claims: Sequence[Claim]) -> AsyncGenerator[list[Outcome], None]:
        """Yields one outcome for each claim whose lease is not lost on the way, as soon as it is certain, in no
        particular order. Failures are outcomes, never exceptions of the batch. Claims that the batch has no time for
        (Turn) get no outcome: their work has not begun, and the caller releases them.

        `Outcome.retry_at` is left to the worker, which knows the number of attempts.
        """
        turn = Turn()
        for name, group in _by_collection(claims).items():
            async with aclosing(self._run_collection(name, group, turn)) as batches:
                async for outcomes in batches:
                    yield outcomes

    async def withdraw(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Removes from the store what it may hold of versions that failed permanently. `outcomes` are those to be
        completed. Outcomes whose lease is lost are left out. If the store cannot be reached, the document is retried.
        """
        final = [outcome for outcome in outcomes if outcome.error and outcome.retry_at is None]
        touched = {
            outcome.claim.token: outcome
            for outcome in final
            if outcome.written or outcome.claim.record.rollback_ids is not None
        }
        done = [outcome for outcome in outcomes if outcome.claim.token not in touched]
        for name, claims in _by_collection([outcome.claim for outcome in touched.values()]).items():
            some = [touched[claim.token] for claim in claims]
            try:
                # Under leases, the collection cannot be exchanged meanwhile.
                done += await self._roll_back(await self._catalog.collection(name), some)
            except TandemError as error:
                log.warning("a failed document is not withdrawn yet", collection=name, code=error.code)
                again, why = datetime.now(UTC), DocumentError(error.code, error.message)
                done += [replace(outcome, error=why, retry_at=again, counted=False) for outcome in some]
        return done

    async def _roll_back(self, collection: Collection, outcomes: Sequence[Outcome]) -> list[Outcome]:
        records = await self._catalog.held([outcome.claim for outcome in outcomes])
        held = [outcome for outcome in outcomes if outcome.claim.token in records]
        keep = {outcome.claim.record.document.id: records[outcome.claim.token] for outcome in held}
        present = await self._store.present(collection.store_name, [id_ for ids in keep.values() for id_ in ids])
        # Some were deleted already, so no version is complete.
        lost = {document_id for document_id, ids in keep.items() if not ids <= present}
        await self._store.prune(collection.store_name, {id_: () if id_ in lost else ids for id_, ids in keep.items()})
        still = await self._catalog.held([outcome.claim for outcome in held])
        for outcome in outcomes:
            if outcome.claim.token not in still and (outcome.written or outcome in held):
                await self._stale_writes.settle(
                    collection.store_name, outcome.claim, written=(), deleted=outcome in held
                )
        return [
            replace(outcome, version_lost=outcome.claim.record.document.id in lost)
            for outcome in held
            if outcome.claim.token in still
        ]

    async def _run_collection(
        self, name: str, claims: Sequence[Claim], turn: Turn
    ) -> AsyncGenerator[list[Outcome], None]:
        try:
            collection = await self._catalog.collection(name)
            embedder = self._embedders.for_collection(name, collection.store_name, collection.fingerprint)
            sections = await self._store.has_sections(collection.store_name)
            stopped = await self._stopped(collection, claims)
        except TandemError as error:
            yield [failure(claim, error) for claim in claims]
            return
        if stopped:
            yield [failure(claim, Cancelled("The job was cancelled.")) for claim in stopped]
        for portion in _portions([claim for claim in claims if claim not in stopped]):
            async with aclosing(self._preparation.run(embedder, portion, turn, sections=sections)) as parts:
                async for prepared in parts:
                    if prepared.failed:
                        yield prepared.failed
                    async with aclosing(self._writer.write(collection, embedder, prepared.documents)) as batches:
                        async for outcomes in batches:
                            yield outcomes

    async def _stopped(self, collection: Collection, claims: Sequence[Claim]) -> list[Claim]:
        """Returns the claims that are cancelled, except documents of which the store holds no complete version to fall
        back to.
        """
        cancelled = [claim for claim in claims if claim.record.cancelled]
        wanted = {id_ for claim in cancelled for id_ in claim.record.rollback_ids or ()}
        if wanted:
            wanted -= await self._store.present(collection.store_name, list(wanted))
        return [claim for claim in cancelled if wanted.isdisjoint(claim.record.rollback_ids or ())]


def _by_collection(claims: Sequence[Claim]) -> dict[str, list[Claim]]:
    found: dict[str, list[Claim]] = {}
    for claim in claims:
        found.setdefault(claim.record.document.collection, []).append(claim)
    return found


def _portions(claims: Sequence[Claim]) -> Iterator[list[Claim]]:
    """Yields small documents together, up to PORTION_BYTES; then large ones, each alone."""
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
