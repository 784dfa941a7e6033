"""Originals and their owners: a blob is kept as long as some document refers to it, and no longer."""

import asyncio
from collections.abc import Iterable, Mapping

from ingestion.errors import BlobMissing
from ingestion.ports import BlobStore, Catalog

WRITES_AT_ONCE = 8
"""Writes wait for the disk to sync, so a few side by side are faster than one after the other."""


class Originals:
    def __init__(self, catalog: Catalog, blobs: BlobStore) -> None:
        self._catalog = catalog
        self._blobs = blobs

    async def keep(self, blobs: Mapping[str, bytes]) -> None:
        """Makes every blob durable; those that are there already cost next to nothing."""
        slots = asyncio.Semaphore(WRITES_AT_ONCE)

        async def put(digest: str, data: bytes) -> None:
            async with slots:
                await self._blobs.put(digest, data)

        await asyncio.gather(*(put(digest, data) for digest, data in blobs.items()))

    async def retire(self, hashes: Iterable[str]) -> None:
        """Deletes those that no document refers to any more."""
        for digest in hashes:
            if await self._catalog.blob_in_use(digest):
                continue
            try:
                data = await self._blobs.get(digest)
            except BlobMissing:
                continue
            await self._blobs.delete(digest)
            # A document with the same bytes may have been accepted in between; then they must come back.
            if await self._catalog.blob_in_use(digest):
                await self._blobs.put(digest, data)
