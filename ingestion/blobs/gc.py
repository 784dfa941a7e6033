"""Garbage collection of originals: a blob is kept exactly as long as some document refers to it."""

import asyncio
from collections.abc import Iterable

from ingestion.ports import BlobStore, Catalog

AT_ONCE = 8
"""Blobs that are deleted side by side. They are held in memory meanwhile."""


class BlobCollector:
    def __init__(self, catalog: Catalog, blobs: BlobStore) -> None:
        self._catalog = catalog
        self._blobs = blobs

    async def retire(self, hashes: Iterable[str]) -> None:
        """Deletes those blobs that no document refers to any more."""
        every = set(hashes)
        unused = sorted(every - await self._catalog.blobs_in_use(every))
        for first in range(0, len(unused), AT_ONCE):
            some = unused[first : first + AT_ONCE]
            kept = await self._blobs.get(some)
            deleted = await asyncio.gather(*map(self._blobs.delete, some), return_exceptions=True)
            # If documents with the same bytes were accepted in between, the blobs are restored.
            back = await self._catalog.blobs_in_use(some)
            await self._blobs.put({digest: data for digest, data in kept.items() if digest in back})
            for error in deleted:
                if error is not None:
                    raise error
