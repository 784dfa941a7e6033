"""The limit of waiting documents, exact even under concurrent requests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ingestion.errors import Overloaded
from ingestion.notifications import Notifications
from ingestion.ports import Catalog


class QueueLimit:
    """Admits at most `bound` documents that wait or are being processed. Documents that this process is accepting count
    before their originals are written; those of other processes count once they are committed.
    """

    def __init__(self, catalog: Catalog, bound: int) -> None:
        self._catalog = catalog
        self._bound = bound
        self._arriving = 0
        self._entering = 0
        """Documents of those arriving whose transaction has begun: the catalog's count may include them already."""
        self._entered = 0
        """All whose transaction has ended."""
        self._notifications = Notifications()

    @asynccontextmanager
    async def arriving(self, documents: int) -> AsyncIterator[None]:
        """Reserves places for documents. Raises Overloaded if they would exceed the bound."""
        await self._reserve(documents)
        try:
            yield
        finally:
            self._arriving -= documents

    @asynccontextmanager
    async def entering(self, documents: int) -> AsyncIterator[None]:
        """Guards the transaction that records documents which are `arriving`."""
        self._entering += documents
        try:
            yield
        finally:
            self._entering -= documents
            self._entered += documents
            self._notifications.announce()

    async def _reserve(self, documents: int) -> None:
        while True:
            change = self._notifications.upcoming
            entered_before = self._entered
            waiting = await self._catalog.queue_depth()
            taken = waiting + self._arriving - self._entering
            unsure = self._entering + self._entered - entered_before
            if taken + unsure + documents <= self._bound:
                self._arriving += documents
                return
            if taken + documents > self._bound:
                raise Overloaded(
                    f"{taken} documents wait for ingestion and {documents} more would pass the bound of "
                    f"{self._bound} (TANDEM_MAX_QUEUED). Nothing was stored; send them again later.",
                    retry_after_s=10,
                )
            await change.wait()
