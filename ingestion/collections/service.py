"""Collections: a row in the catalog, a physical collection in the store, and an alias between them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic

from ingestion.blobs.gc import BlobCollector
from ingestion.collections.names import alias_of, is_internal, shadow_of, store_name_of
from ingestion.collections.vector_agreement import VectorAgreement
from ingestion.disk_reserve import DiskReserve
from ingestion.ports import Catalog
from ingestion.types import Collection, CollectionOptions, DocumentRecord
from retrieval.errors import CollectionExists, CollectionNotFound
from retrieval.filters.metadata_keys import check_declared
from retrieval.ports import VectorStore
from retrieval.types import CollectionSpec, Fingerprint

RECENT_SECONDS = 2.0
RECENT_COLLECTIONS = 1000


class CollectionService:
    def __init__(
        self,
        catalog: Catalog,
        store: VectorStore,
        collector: BlobCollector,
        agreement: VectorAgreement,
        reserve: DiskReserve | None = None,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._collector = collector
        self._agreement = agreement
        self._reserve = reserve or DiskReserve()
        self._recent: dict[str, tuple[float, Collection]] = {}

    async def create(self, name: str, fingerprint: Fingerprint, options: CollectionOptions | None = None) -> Collection:
        """Creates a collection. Raises CollectionExists, StoreFull, InvalidRequest for keys that cannot be declared."""
        options = options or CollectionOptions()
        self._reserve.require()
        check_declared(options.metadata_keys)
        collection = Collection(
            name=name,
            store_name=store_name_of(name, fingerprint, principals=options.principals),
            fingerprint=fingerprint,
            language=options.language,
            chunking=options.chunking,
            created_at=datetime.now(UTC),
            duplicates=options.duplicates,
            metadata_keys=options.metadata_keys,
            query_instruction=options.query_instruction,
            rerank_instruction=options.rerank_instruction,
            document_instruction=options.document_instruction,
            principals=options.principals,
        )
        await self.add(collection)
        return collection

    async def add(self, collection: Collection) -> None:
        """Creates the collection in the store first: after a crash in between, the same call completes it. Raises
        CollectionExists."""
        if collection.name in {other.name for other in await self._catalog.collections()}:
            raise CollectionExists(f"Collection {collection.name!r} exists already.", collection=collection.name)
        await self._agreement.prepare(collection.fingerprint)
        await self._store.create_collection(
            collection.store_name,
            CollectionSpec(
                collection.fingerprint.dimension, collection.metadata_keys, principals=collection.principals
            ),
        )
        # It may belong to another catalog: it must be neither dropped nor searched as ours.
        foreign = await self._store.count(collection.store_name)
        if foreign:
            raise CollectionExists(
                f"The store holds a collection {collection.store_name!r} with {foreign} chunks that this catalog does "
                "not know. Point the node at the catalog that it belongs to, or drop it in the store.",
                collection=collection.name,
            )
        if not is_internal(collection.name):
            await self._store.point_alias(alias_of(collection.name), collection.store_name)
        await self._catalog.add_collection(collection)
        await self._agreement.record(collection)

    async def get(self, name: str) -> Collection:
        """Returns the collection. Raises CollectionNotFound."""
        return await self._catalog.collection(name)

    async def get_recent(self, name: str) -> Collection:
        """Returns the collection for a search. The record is at most RECENT_SECONDS old, and always current for changes
        made by this process. Raises CollectionNotFound."""
        found = self._recent.get(name)
        if found is None or monotonic() - found[0] > RECENT_SECONDS:
            if len(self._recent) >= RECENT_COLLECTIONS:
                self._recent.clear()
            found = self._recent[name] = (monotonic(), await self._catalog.collection(name))
        return found[1]

    async def list(self) -> Sequence[Collection]:
        """Returns all collections except the internal ones."""
        return [collection for collection in await self._catalog.collections() if not is_internal(collection.name)]

    async def ensure(self, name: str, fingerprint: Fingerprint) -> Collection:
        """Returns the collection, and creates it with defaults if it does not exist."""
        try:
            return await self._catalog.collection(name)
        except CollectionNotFound:
            return await self.create(name, fingerprint)

    async def count(self, name: str) -> int:
        """Returns the number of chunks that a search can find."""
        collection = await self._catalog.collection(name)
        return await self._store.count(collection.store_name)

    async def delete(self, name: str) -> None:
        """Removes vectors, documents, jobs and originals. Repeated after a crash, it completes the first call. Raises
        CollectionNotFound.
        """
        collection = await self._catalog.collection(name)
        if not is_internal(name):
            with suppress(CollectionNotFound):
                await self.delete(shadow_of(name))
            await self._store.drop_alias(alias_of(name))
        self.forget(name)
        await self._store.drop_collection(collection.store_name)
        hashes = {record.document.sha256 async for record in self._records(name)}
        await self._catalog.remove_collection(name)
        self._agreement.removed(collection)
        self.forget(name)
        await self._collector.retire(hashes)

    def forget(self, name: str) -> None:
        """Drops the cached record, so that the next search reads the catalog."""
        self._recent.pop(name, None)
        self._agreement.replaced(name)

    async def _records(self, name: str) -> AsyncIterator[DocumentRecord]:
        after = None
        while page := await self._catalog.documents(name, after=after, limit=1000):
            for record in page:
                yield record
            after = page[-1].document.id
