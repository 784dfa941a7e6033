"""Whether the running models compute the vectors that collections hold: golden vectors are stored when a collection is
made, and compared at every start."""

import structlog

from ingestion.collections.names import is_internal
from ingestion.ports import Catalog
from ingestion.types import Collection
from retrieval.embedders import Embedders
from retrieval.evaluation.golden_vectors import (
    GOLDEN_TEXTS,
    MIN_COSINE,
    Agreement,
    GoldenText,
    GoldenVectors,
    agreement,
    golden_vectors,
)
from retrieval.ports import Embedder
from retrieval.types import Fingerprint, Vectors

log = structlog.get_logger()


class VectorAgreement:
    """Stores golden vectors, and notes in `embedders` how they agree with fresh ones."""

    def __init__(self, catalog: Catalog, embedders: Embedders) -> None:
        self._catalog = catalog
        self._embedders = embedders
        self._fresh: dict[tuple[Fingerprint, tuple[GoldenText, ...]], Vectors] = {}
        """Since the last check: collections of one model are many."""
        self.refused: dict[str, Agreement] = {}
        """By name, the collections that the last check refuses. Previous versions are not among them."""

    async def check(self) -> None:
        """Compares the golden vectors of every collection whose model runs. Collections without any are of an earlier
        release: they get those of today. Raises CatalogUnavailable, and the errors of Embedder.embed.
        """
        self._fresh.clear()
        refused: dict[str, Agreement] = {}
        for collection in await self._catalog.collections():
            embedder = self._embedders.named(collection.fingerprint)
            if embedder is None:
                continue  # its fingerprint refuses it
            stored = await self._catalog.golden_vectors(collection.store_name)
            if stored is None:
                await self.record(collection)
                log.info("golden vectors stored for a collection of an earlier release", collection=collection.name)
                continue
            found = agreement(stored.vectors, await self._vectors(embedder, stored.texts))
            self._embedders.agreements[collection.store_name] = found
            if not found.agrees and not is_internal(collection.name):
                refused[collection.name] = found
                log.error(
                    "vectors disagree",
                    collection=collection.name,
                    model=collection.fingerprint.model,
                    cosine=round(found.cosine, 4),
                    at_least=MIN_COSINE,
                    way_out=f"tandem reembed {collection.name} --no-gate",
                )

        self.refused = refused

    async def prepare(self, fingerprint: Fingerprint) -> None:
        """Computes what `record` stores, so that a collection is not made while it cannot be had. Raises the errors of
        Embedder.embed."""
        if embedder := self._embedders.named(fingerprint):
            await self._vectors(embedder, GOLDEN_TEXTS)

    async def record(self, collection: Collection) -> None:
        """Stores the golden vectors of a collection that the catalog knows, if its model runs. Raises as `check`
        does."""
        embedder = self._embedders.named(collection.fingerprint)
        if embedder is None:
            return
        golden = GoldenVectors(GOLDEN_TEXTS, await self._vectors(embedder, GOLDEN_TEXTS))
        await self._catalog.set_golden_vectors(collection.store_name, golden)
        self._embedders.agreements[collection.store_name] = Agreement(1.0)

    def replaced(self, name: str) -> None:
        """Takes note that the name stands for other vectors now, or for none."""
        self.refused.pop(name, None)

    def removed(self, collection: Collection) -> None:
        """Drops what is known about the vectors of a collection."""
        self._embedders.agreements.pop(collection.store_name, None)

    async def _vectors(self, embedder: Embedder, texts: tuple[GoldenText, ...]) -> Vectors:
        key = (embedder.fingerprint, texts)
        if key not in self._fresh:
            self._fresh[key] = (await golden_vectors(embedder, texts)).vectors
        return self._fresh[key]
