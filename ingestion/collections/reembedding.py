"""Moves a collection to another model or chunking while it serves: fills a shadow from the originals, measures both,
and exchanges the names if the new one is as good.

The shadow of `docs` is the internal collection `docs~other`. After the exchange that name holds the previous version,
which a rollback restores in the same way.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal
from uuid import uuid4

import structlog

from ingestion.collections.names import alias_of, shadow_of
from ingestion.collections.quality import Quality, Verdict
from ingestion.collections.service import CollectionService
from ingestion.errors import DocumentBusy, DocumentNotFound
from ingestion.ports import Catalog
from ingestion.service import IngestionService
from ingestion.types import Chunking, Collection, Document, DocumentRecord, GoldenQuery, JobId
from retrieval.embedders import Embedders
from retrieval.errors import CollectionNotFound, InvalidRequest, TandemError, Unavailable
from retrieval.ports import Embedder, VectorStore
from retrieval.types import StoreName

log = structlog.get_logger()

Phase = Literal["filling", "measuring", "flipped", "refused", "failed"]

PAGE = 500
"""Documents that are copied in one transaction."""
ROUNDS = 20
"""How often documents that changed meanwhile are copied again before the exchange is given up."""
RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    embedder: Embedder
    chunking: Chunking | None
    """None: every document keeps its own."""
    golden: Sequence[GoldenQuery] | None
    """None: those stored with the collection."""
    tolerance: float
    """Largest accepted decrease of nDCG@10."""
    gate: bool
    """False: exchanges without measuring."""


@dataclass(frozen=True, slots=True)
class Status:
    collection: str
    phase: Phase
    documents: int = 0
    done: int = 0
    failed: int = 0
    verdict: Verdict | None = None
    message: str = ""

    @property
    def ended(self) -> bool:
        return self.phase in ("flipped", "refused", "failed")


class Reembedding:
    def __init__(
        self,
        catalog: Catalog,
        store: VectorStore,
        collections: CollectionService,
        ingestion: IngestionService,
        embedders: Embedders,
        quality: Quality,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._collections = collections
        self._ingestion = ingestion
        self._embedders = embedders
        self._quality = quality
        self._status: dict[str, Status] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self, name: str, plan: Plan) -> Status:
        """Starts a run, or resumes an interrupted one with the same model and chunking. Raises CollectionNotFound,
        InvalidRequest (no golden queries; a run is in progress), FingerprintMismatch (the present version, which the
        new one is to be compared with, cannot be searched).
        """
        self._refuse_if_running(name)
        current = await self._catalog.collection(name)
        if plan.gate:
            # Before hours of filling, not after.
            self._embedder_of(current)
        if plan.gate and not (await self._catalog.golden_queries(name) if plan.golden is None else plan.golden):
            raise InvalidRequest(
                f"There is nothing to compare the models of {name!r} by: store golden queries with the collection, "
                "give judgements with the request, or switch the gate off."
            )
        return self._launch(name, self._reembed(name, plan))

    async def rollback(self, name: str) -> Status:
        """Restores the previous version, with everything that was ingested and deleted since. Raises CollectionNotFound
        if there is none, FingerprintMismatch if its model is not running.
        """
        self._refuse_if_running(name)
        other = await self._catalog.collection(shadow_of(name))
        if other.created_at > (await self._catalog.collection(name)).created_at:
            raise CollectionNotFound(f"Collection {name!r} has no earlier version to go back to.", collection=name)
        embedder = self._embedder_of(other)
        plan = Plan(embedder, chunking=None, golden=None, tolerance=1.0, gate=False)
        return self._launch(name, self._exchange(name, plan))

    def status(self, name: str) -> Status | None:
        """Returns the status of the last run since this process began."""
        return self._status.get(name)

    async def close(self) -> None:
        """Stops the runs. The filled part stays, and a later start continues from it."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _embedder_of(self, collection: Collection) -> Embedder:
        return self._embedders.for_collection(collection.name, collection.store_name, collection.fingerprint)

    def _refuse_if_running(self, name: str) -> None:
        if name in self._tasks and not self._tasks[name].done():
            raise InvalidRequest(f"Collection {name!r} is being re-embedded already.", collection=name)

    def _launch(self, name: str, work: Coroutine[None, None, None]) -> Status:
        self._status[name] = Status(name, "filling")
        self._tasks[name] = asyncio.create_task(self._guard(name, work), name=f"reembed {name}")
        return self._status[name]

    async def _guard(self, name: str, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except TandemError as error:
            log.warning("re-embedding failed", collection=name, code=error.code, reason=error.message)
            self._update(name, phase="failed", message=error.message)

    def _update(self, name: str, **fields: object) -> None:
        self._status[name] = replace(self._status[name], **fields)  # type: ignore[arg-type]

    async def _reembed(self, name: str, plan: Plan) -> None:
        await self._shadow(name, plan)
        await self._exchange(name, plan)

    async def _exchange(self, name: str, plan: Plan) -> None:
        """Fills, measures and flips. Every step can be repeated, so it waits for parts that are unavailable for a
        while.
        """
        for _ in range(ROUNDS):
            try:
                if await self._round(name, plan):
                    return
            except Unavailable as error:
                log.warning("re-embedding waits", collection=name, code=error.code, reason=error.message)
                await asyncio.sleep(RETRY_SECONDS)
        self._update(
            name, phase="refused", message="Documents kept changing faster than they could be copied: try again."
        )

    async def _round(self, name: str, plan: Plan) -> bool:
        """Runs one round; returns whether the run is over."""
        self._update(name, phase="filling")
        lost = await self._fill(name, plan)
        if lost:
            shown = ", ".join(repr(str(id_)) for id_ in lost[:5])
            self._update(
                name,
                phase="refused",
                failed=len(lost),
                message=f"{len(lost)} searchable documents could not be processed again, among them {shown}.",
            )
            return True
        if plan.gate and not await self._passes(name, plan):
            return True
        if not await self._catalog.swap_collections(name, shadow_of(name)):
            return False
        current = await self._catalog.collection(name)
        self._collections.forget(name)
        await self._store.point_alias(alias_of(name), current.store_name)
        self._update(
            name,
            phase="flipped",
            message=f"Collection {name!r} has changed over to vectors of {current.fingerprint.model}, chunks of up to "
            f"{current.chunking.max_tokens} tokens.",
        )
        log.info("collection flipped", collection=name, model=current.fingerprint.model)
        return True

    async def _shadow(self, name: str, plan: Plan) -> None:
        """Provides the collection to fill: an interrupted one, or a new one in place of a previous version."""
        current = await self._catalog.collection(name)
        wanted = plan.chunking or current.chunking
        try:
            other = await self._catalog.collection(shadow_of(name))
        except CollectionNotFound:
            pass
        else:
            same = (other.fingerprint, other.chunking) == (plan.embedder.fingerprint, wanted)
            if same and other.created_at > current.created_at and self._embedders.agree(other.store_name):
                return
            await self._collections.delete(other.name)
        fingerprint = plan.embedder.fingerprint
        await self._collections.add(
            Collection(
                name=shadow_of(name),
                store_name=StoreName(f"{alias_of(name)}__{fingerprint.digest}_{uuid4().hex[:8]}"),
                fingerprint=fingerprint,
                language=current.language,
                chunking=wanted,
                created_at=datetime.now(UTC),
                metadata_keys=current.metadata_keys,
                document_instruction=current.document_instruction,
                principals=current.principals,
            )
        )

    async def _fill(self, name: str, plan: Plan) -> list[str]:
        """Makes the shadow's documents equal to those of the collection, and returns the ids of those that search would
        lose.
        """
        jobs: list[JobId] = []
        total = 0
        async for page in self._pages(name):
            documents = [_moved(record.document, shadow_of(name), plan.chunking) for record in page]
            job_id = JobId(uuid4().hex)
            await self._catalog.accept(job_id, shadow_of(name), documents, background=True)
            jobs.append(job_id)
            total += len(page)
        self._ingestion.wake()
        await self._remove_unlisted_chunks(name)
        self._update(name, documents=total, done=0)
        lost: list[str] = []
        done = 0
        for job_id in jobs:
            async for job in self._ingestion.watch(job_id):
                self._update(name, done=done + job.progress.done)
            done += job.progress.done
            if job.progress.failed:
                lost += await self._lost(name, job_id)
        return lost

    async def _remove_unlisted_chunks(self, name: str) -> None:
        """Removes the chunks of documents that were deleted from the collection since they were copied."""
        async for page in self._pages(shadow_of(name)):
            ids = [record.document.id for record in page]
            known = await self._catalog.documents_named(name, ids)
            for id_ in ids:
                if id_ not in known:
                    try:
                        await self._ingestion.delete(shadow_of(name), id_)
                    except (DocumentBusy, DocumentNotFound):
                        continue  # in process: the next round finds it again

    async def _lost(self, name: str, job_id: JobId) -> list[str]:
        receipts = await self._catalog.receipts(job_id, limit=PAGE)
        failed = [receipt.document_id for receipt in receipts if receipt.status == "failed"]
        now = await self._catalog.documents_named(name, failed)
        copies = await self._catalog.documents_named(shadow_of(name), failed)
        return [
            str(id_)
            for id_ in failed
            if id_ in now and now[id_].state == "ready" and id_ in copies and copies[id_].state == "failed"
        ]

    async def _passes(self, name: str, plan: Plan) -> bool:
        self._update(name, phase="measuring")
        golden = await self._catalog.golden_queries(name) if plan.golden is None else plan.golden
        current, other = await self._catalog.collection(name), await self._catalog.collection(shadow_of(name))
        before = self._embedder_of(current)
        verdict = await self._quality.compare(
            golden, (current.store_name, before), (other.store_name, plan.embedder), plan.tolerance
        )
        self._update(name, verdict=verdict)
        if not verdict.passed:
            self._update(name, phase="refused", message=verdict.message)
        return verdict.passed

    async def _pages(self, name: str) -> AsyncIterator[Sequence[DocumentRecord]]:
        after = None
        while page := await self._catalog.documents(name, after=after, limit=PAGE):
            yield page
            after = page[-1].document.id


def _moved(document: Document, collection: str, chunking: Chunking | None) -> Document:
    return replace(document, collection=collection, chunking=chunking or document.chunking, traceparent=None)
