"""Removes old jobs, receipts, idempotency keys and entries of the audit log."""

import asyncio
from datetime import UTC, datetime, timedelta

import structlog

from ingestion.ports import Catalog
from retrieval.errors import TandemError

log = structlog.get_logger()

BATCH = 50
"""Jobs in one transaction: each may have thousands of receipts."""
ENTRIES = 5000
"""Entries of the audit log that are removed in one transaction."""
SWEEP_SECONDS = 3600.0


class Retention:
    def __init__(self, catalog: Catalog, keep: timedelta) -> None:
        """With `keep` of zero, everything stays."""
        self._catalog = catalog
        self._keep = keep

    async def run(self) -> None:
        """Sweeps now and every SWEEP_SECONDS, until it is cancelled."""
        while self._keep:
            try:
                now = datetime.now(UTC)
                if removed := await self.sweep(now):
                    log.info("old jobs removed", jobs=removed, older_than_days=self._keep.days)
                if forgotten := await self.sweep_audit_log(now):
                    log.info("old entries of the audit log removed", entries=forgotten)
            except TandemError as error:
                log.warning("old jobs or entries not removed", code=error.code, reason=error.message)
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self, now: datetime) -> int:
        """Removes what is older, in batches, between which other transactions can run; returns the number of jobs."""
        removed = 0
        while count := await self._catalog.remove_jobs(before=now - self._keep, limit=BATCH):
            removed += count
        return removed

    async def sweep_audit_log(self, now: datetime) -> int:
        """Removes old entries of the audit log in the same way."""
        removed = 0
        while count := await self._catalog.remove_recorded(before=now - self._keep, limit=ENTRIES):
            removed += count
        return removed
