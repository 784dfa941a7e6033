"""Originals and their owners: a blob is kept as long as some document refers to it, and no longer."""

from collections.abc import Iterable

from ingestion.ports import BlobStore, Catalog


class Originals:
    def __init__(self, catalog: Catalog, blobs: BlobStore) -> None:
        self._catalog = catalog
        self._blobs = blobs

    async def retire(self, hashes: Iterable[str]) -> None:
        """Deletes those that no document refers to any more."""
        every = set(hashes)
        for digest in sorted(every - await self._catalog.blobs_in_use(every)):
            kept = await self._blobs.get([digest])
            await self._blobs.delete(digest)
            # A document with the same bytes may have been accepted in between; then they must come back.
            if await self._catalog.blobs_in_use([digest]):
                await self._blobs.put(kept)
