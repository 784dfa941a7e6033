"""Records the actions of callers: every change and export, and refusals up to a limit."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import structlog

from app.access.caller import Caller
from app.errors import Forbidden
from ingestion.access.audit_log import OK, Action, AuditCatalog, AuditEntry
from ingestion.access.keys import Scope
from retrieval.errors import CollectionNotFound, TandemError

log = structlog.get_logger()

REFUSALS_A_FLUSH: Final = 20
"""Refusals of one flush that are recorded individually; one entry counts the others."""
FLUSH_SECONDS: Final = 5.0
MAX_REQUEST_CHARACTERS: Final = 300


class Recorder:
    """Writes into the catalog's audit log. One for all requests of a node."""

    def __init__(self, catalog: Callable[[], AuditCatalog]) -> None:
        """`catalog` raises NotReady while there is none."""
        self._catalog = catalog
        self._refusals: deque[AuditEntry] = deque(maxlen=REFUSALS_A_FLUSH)
        self._more = 0

    async def record(self, entry: AuditEntry) -> None:
        """Records an entry; it is durable when this returns. Raises CatalogUnavailable."""
        await self._catalog().record([entry])

    def refused(self, entry: AuditEntry) -> None:
        """Records a refusal within FLUSH_SECONDS, without waiting: a flood of wrong keys fills neither
        memory nor disk.
        """
        if len(self._refusals) < REFUSALS_A_FLUSH:
            self._refusals.append(entry)
        else:
            self._more += 1

    async def run(self) -> None:
        """Flushes until it is cancelled, and then once more."""
        try:
            while True:
                await asyncio.sleep(FLUSH_SECONDS)
                await self.flush()
        finally:
            await self.flush()

    async def flush(self) -> None:
        entries = list(self._refusals)
        if not entries:
            return
        if self._more:
            entries.append(
                AuditEntry(
                    at=datetime.now(UTC),
                    key_id=None,
                    address=None,
                    action="request",
                    outcome="refused",
                    subject="further refusals, not recorded individually",
                    count=self._more,
                )
            )
        try:
            await self._catalog().record(entries)
        except TandemError as error:
            log.warning("refusals not recorded yet", code=error.code, reason=error.message)
            return
        self._refusals.clear()
        self._more = 0


@dataclass(slots=True)
class Recorded:
    """The details that an action adds to its entry before it ends."""

    subject: str | None = None
    count: int = 1


class Trail:
    """The recorder for one request, and the permission check of its caller: refusals are recorded."""

    def __init__(self, recorder: Recorder, caller: Caller, *, address: str | None, request: str) -> None:
        """`request` holds its method and path."""
        self._recorder = recorder
        self._caller = caller
        self._address = address
        self._request = request[:MAX_REQUEST_CHARACTERS]
        self._was_refused = False

    def require(self, *any_of: Scope, collection: str | None = None) -> None:
        """Raises Forbidden for a key with none of the scopes, CollectionNotFound for a collection that the caller does
        not see, whether or not there is one: nothing is looked up."""
        try:
            if any_of:
                self._caller.require(*any_of)
            if collection is not None and not self._caller.sees(collection):
                raise CollectionNotFound(f"There is no collection {collection!r}.", collection=collection)
        except TandemError as error:
            self.refused(error.code, collection)
            raise

    def refused(self, code: str, collection: str | None = None) -> None:
        """Records a request that does nothing, because its caller may not."""
        self._was_refused = True
        self._recorder.refused(replace(self._entry("request", code, self._request), collection=collection))

    def only_reads(self, collection: str) -> Forbidden:
        """Records the refusal of a write into a collection with principals, and returns it."""
        self.refused(Forbidden.code, collection)
        return Forbidden(
            f"Collection {collection!r} has principals, and this caller reads it by groups: write with a key that has "
            "the scope ingest without search, or manage.",
            collection=collection,
        )

    @asynccontextmanager
    async def action(
        self, action: Action, collection: str | None = None, document_id: str | None = None, subject: str | None = None
    ) -> AsyncIterator[Recorded]:
        """Records what happens within, with its outcome, unless it was refused. A change that is done stays done where
        the log cannot be written: then the service's log says what was to be recorded."""
        recorded = Recorded(subject)
        outcome = "cancelled"
        try:
            yield recorded
            outcome = OK
        except TandemError as error:
            outcome = error.code
            raise
        finally:
            if not self._was_refused:
                entry = self._entry(action, outcome, recorded.subject, count=recorded.count)
                await self._write(replace(entry, collection=collection, document_id=document_id))

    async def export(self, action: Action, collection: str | None, document_id: str | None) -> None:
        """Records an export before data leaves: data that cannot be recorded is not returned. Raises
        CatalogUnavailable.
        """
        entry = self._entry(action, OK, None)
        await self._recorder.record(replace(entry, collection=collection, document_id=document_id))

    async def _write(self, entry: AuditEntry) -> None:
        try:
            await self._recorder.record(entry)
        except TandemError as error:
            log.error(
                "not written to the audit log",
                key_id=entry.key_id,
                token_subject=entry.token_subject,
                action=entry.action,
                outcome=entry.outcome,
                collection=entry.collection,
                subject=entry.subject,
                code=error.code,
            )

    def _entry(self, action: Action, outcome: str, subject: str | None, *, count: int = 1) -> AuditEntry:
        return AuditEntry(
            at=datetime.now(UTC),
            key_id=self._caller.key_id,
            address=self._address,
            action=action,
            outcome=outcome,
            subject=subject,
            token_subject=self._caller.token_subject,
            count=count,
        )
