"""The embedding models of one process: each collection is searched and filled by the one that made its vectors."""

from collections.abc import Sequence

from retrieval.errors import FingerprintMismatch
from retrieval.ports import Embedder
from retrieval.types import Fingerprint


class Embedders:
    def __init__(self, main: Embedder) -> None:
        self.main = main
        """Makes new collections."""
        self._more: list[Embedder] = []

    @property
    def every(self) -> Sequence[Embedder]:
        return [self.main, *self._more]

    def add(self, embedder: Embedder) -> None:
        """A second model, running, while a collection moves from one to the other."""
        self._more.append(embedder)

    def named(self, fingerprint: Fingerprint) -> Embedder | None:
        return next((embedder for embedder in self.every if embedder.fingerprint == fingerprint), None)

    def for_collection(self, name: str, fingerprint: Fingerprint) -> Embedder:
        """Raises FingerprintMismatch where the collection's vectors were made by a model that is not running."""
        found = self.named(fingerprint)
        if found is None:
            made, running = fingerprint, self.main.fingerprint
            raise FingerprintMismatch(
                f"Collection {name!r} was made with {made.model} ({made.dimension} dimensions, {made.engine}, "
                f"fingerprint {made.digest}), this node runs {running.model} ({running.dimension} dimensions, "
                f"{running.engine}, fingerprint {running.digest}). Start the node with the first model, re-embed the "
                "collection with `tandem reembed`, or ingest into a new one.",
                collection=name,
                stored=made.digest,
                running=running.digest,
            )
        return found
