"""The claim loop: leases documents, runs the pipeline on them, closes the leases."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from ingestion.disk_reserve import DiskReserve
from ingestion.errors import (
    AttemptsExhausted,
    BlobStoreUnavailable,
    CatalogUnavailable,
    Overloaded,
    ParserBusy,
    ParserUnavailable,
)
from ingestion.notifications import Notifications
from ingestion.pipeline.outcomes import failure
from ingestion.pipeline.pipeline import Pipeline
from ingestion.ports import Catalog
from ingestion.types import Claim, Outcome, WorkerId
from retrieval.errors import NotReady, StoreFull, StoreUnavailable, TandemError
from retrieval.types import Fingerprint

log = structlog.get_logger()


OUTAGES = frozenset(
    error.code
    for error in (
        StoreUnavailable,
        StoreFull,
        BlobStoreUnavailable,
        CatalogUnavailable,
        ParserUnavailable,
        ParserBusy,
        NotReady,
        Overloaded,
    )
)
"""Errors that documents do not cause: they use up no attempt of a document. While they last, nothing is claimed."""
SUSPECT = 3
"""From this attempt on a document is processed alone, so that a process that dies of it does not use up attempts of
other documents.
"""
MAX_DOUBLINGS = 16
BUSY_PAUSE = timedelta(seconds=10)
"""Pause before a long document is retried that waits for other long ones."""

AcceptsFingerprint = Callable[[Fingerprint], bool]
"""Returns whether the worker takes documents of collections with vectors of this model."""


class WorkObserver(Protocol):
    """Sees the work of workers; nothing of it depends on what an observer does."""

    def batch(self, claims: Sequence[Claim]) -> AbstractContextManager[None]:
        """Around the work on one batch."""
        ...

    def ended(self, outcomes: Sequence[Outcome]) -> None:
        """Attempts that the catalog knows of."""
        ...


class InternalFailure(TandemError):
    """An unexpected error of the service. The document is retried, since the cause may have been temporary."""

    code = "internal"
    retryable = True


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    batch: int
    """Documents claimed at once."""
    lease: timedelta
    max_attempts: int
    """Attempts before a document fails; those that an outage ends do not count, those that a crash ends do."""
    poll: timedelta = timedelta(seconds=1)
    """Pause before an empty queue is asked again; `work_arrived` cuts it short."""
    backoff: timedelta = timedelta(seconds=2)
    """Pause before the second attempt; doubles with each, up to `backoff_limit`, with jitter."""
    backoff_limit: timedelta = timedelta(minutes=5)


class Worker:
    """One slot of ingestion. Several may run concurrently, in this process or in others."""

    def __init__(
        self,
        worker_id: WorkerId,
        catalog: Catalog,
        pipeline: Pipeline,
        options: WorkerOptions,
        work_arrived: Notifications,
        notifications: Notifications,
        *,
        largest: int | None = None,
        takes: AcceptsFingerprint | None = None,
        reserve: DiskReserve | None = None,
        observer: WorkObserver | None = None,
    ) -> None:
        """Leaves originals of more than `largest` bytes, and collections that `takes` declines, to other workers."""
        self._id = worker_id
        self._catalog = catalog
        self._pipeline = pipeline
        self._options = options
        self._work_arrived = work_arrived
        self._notifications = notifications
        self._largest = largest
        self._takes = takes
        self._reserve = reserve or DiskReserve()
        self._observer = observer
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Works until `stop` is called and the current batch is done. When cancelled, gives its leases back."""
        pause = self._options.backoff
        while not self._stopping.is_set():
            arrival = self._work_arrived.upcoming
            try:
                busy = await self._work_once()
                pause = self._options.backoff
            except TandemError as error:
                # The database is probably unavailable. Leases expire by themselves; retry with growing pauses.
                log.warning("worker cannot reach the catalog", worker=self._id, code=error.code, reason=error.message)
                await self._rest(pause, arrival)
                pause = min(pause * 2, self._options.backoff_limit)
                continue
            if not busy:
                await self._rest(self._options.poll, arrival)

    def stop(self) -> None:
        self._stopping.set()
        self._work_arrived.announce()

    async def _work_once(self) -> bool:
        if self._pipeline.failure or self._reserve.failure:
            # Documents would use up their attempts because of errors that they do not cause.
            return False
        collections = await self._collections()
        if collections == []:
            return False
        claims = await self._claim(collections)
        if not claims:
            return False
        held = {claim.token: claim for claim in claims}
        heartbeat = asyncio.create_task(self._renew(held))
        try:
            with self._observer.batch(claims) if self._observer else nullcontext():
                await self._run(claims, held)
        except asyncio.CancelledError:
            await self._catalog.release(list(held.values()), begun=True)
            raise
        else:
            # Documents that the batch had no time for, and those that other workers have taken over, which this does
            # not change.
            await self._catalog.release(list(held.values()))
        finally:
            heartbeat.cancel()
        return True

    async def _claim(self, collections: Sequence[str] | None) -> Sequence[Claim]:
        claiming = asyncio.ensure_future(
            self._catalog.claim(
                self._id,
                limit=self._options.batch,
                lease=self._options.lease,
                now=datetime.now(UTC),
                largest=self._largest,
                collections=collections,
            )
        )
        try:
            claims = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # A catalog takes back what a caller that has gone asked for, unless the commit had begun: nobody would work
            # on those documents.
            with suppress(TandemError):
                await self._catalog.release(await claiming)
            raise
        suspect = next((claim for claim in claims if claim.record.attempts >= SUSPECT), None)
        if suspect is None:
            return claims
        await self._catalog.release([claim for claim in claims if claim is not suspect])
        return [suspect]

    async def _collections(self) -> list[str] | None:
        """Returns the names of the collections whose documents this worker takes; None means all."""
        if self._takes is None:
            return None
        return [each.name for each in await self._catalog.collections() if self._takes(each.fingerprint)]

    async def _run(self, claims: Sequence[Claim], held: dict[str, Claim]) -> None:
        """Runs the pipeline and contains its unexpected errors: a batch with such an error is run again document by
        document, so that only the one that causes it fails.
        """
        if over := [claim for claim in claims if claim.record.attempts > self._options.max_attempts]:
            await self._complete([failure(claim, _exhausted(claim)) for claim in over], held)
            claims = [claim for claim in claims if claim not in over]
        try:
            async with aclosing(self._pipeline.run(claims)) as batches:
                async for outcomes in batches:
                    await self._complete(outcomes, held)
        except TandemError:
            raise
        except Exception as error:  # the loop must outlive any one document
            left = [claim for claim in claims if claim.token in held]
            if len(left) > 1:
                for claim in left:
                    await self._run([claim], held)
                return
            log.exception("document broke the pipeline", worker=self._id)
            problem = InternalFailure(f"{type(error).__name__} while ingesting; see the log of the process.")
            await self._complete([failure(claim, problem, written=True) for claim in left], held)

    async def _complete(self, outcomes: Sequence[Outcome], held: dict[str, Claim]) -> None:
        outcomes = await self._pipeline.withdraw([self._with_retry(each) for each in outcomes])
        await self._catalog.complete(outcomes)
        if self._observer:
            self._observer.ended(outcomes)
        for outcome in outcomes:
            held.pop(outcome.claim.token, None)
        self._notifications.announce()

    async def _renew(self, held: Mapping[str, Claim]) -> None:
        while True:
            await asyncio.sleep(self._options.lease.total_seconds() / 3)
            try:
                await self._catalog.renew(list(held.values()), lease=self._options.lease, now=datetime.now(UTC))
            except TandemError as error:
                log.warning("leases not renewed", worker=self._id, code=error.code, reason=error.message)

    def _with_retry(self, outcome: Outcome) -> Outcome:
        """Turns a retryable outcome into one with a retry time, or into a final failure if the attempts are used up."""
        if outcome.retry_at is None:
            return outcome
        assert outcome.error is not None
        attempts = outcome.claim.record.attempts
        counted = outcome.error.code not in OUTAGES
        if outcome.error.code == ParserBusy.code:
            pause = BUSY_PAUSE
        elif not counted:
            pause = self._options.backoff
        elif attempts < self._options.max_attempts:
            pause = min(self._options.backoff * 2 ** min(attempts - 1, MAX_DOUBLINGS), self._options.backoff_limit)
        else:
            return replace(outcome, retry_at=None)
        jitter = random.uniform(0.5, 1.5)  # noqa: S311  # spreads retries, guards nothing
        return replace(outcome, retry_at=datetime.now(UTC) + pause * jitter, counted=counted)

    async def _rest(self, limit: timedelta, arrival: asyncio.Event) -> None:
        if self._stopping.is_set():
            return
        try:
            async with asyncio.timeout(limit.total_seconds()):
                await arrival.wait()
        except TimeoutError:
            return


def _exhausted(claim: Claim) -> AttemptsExhausted:
    attempts = claim.record.attempts - 1
    return AttemptsExhausted(
        f"{attempts} attempts at the document ended without a result, the last one with the death of the process that "
        "made it (killed, out of memory): it is not tried again. Ingest it again to have it tried once more.",
        attempts=attempts,
    )
