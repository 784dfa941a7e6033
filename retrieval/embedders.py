"""The embedding models of one process. The model that made a collection's vectors also searches and fills it."""

from collections.abc import Sequence
from dataclasses import replace

from retrieval.engines.derived import DerivedEmbedder
from retrieval.engines.matryoshka import MatryoshkaEmbedder
from retrieval.errors import FingerprintMismatch, InvalidRequest, Unsupported
from retrieval.evaluation.golden_vectors import MIN_COSINE, Agreement
from retrieval.ports import Embedder
from retrieval.types import Fingerprint, StoreName

_SECTIONS = "+sections"
"""At the end of a prompt version: passages begin with their section."""

MIN_DIMENSION = 32


def with_dimension(embedder: Embedder, dimension: int | None) -> Embedder:
    """Returns `embedder`, or a view of it whose vectors are cut to `dimension`. Raises InvalidRequest (above the
    model's dimension, or below the smallest allowed) and Unsupported (the model was not trained for it).
    """
    whole = embedder.fingerprint.dimension
    if dimension is None or dimension == whole:
        return embedder
    if not MIN_DIMENSION <= dimension <= whole:
        raise InvalidRequest(f"dimension: {dimension}; {embedder.fingerprint.model} has {MIN_DIMENSION} to {whole}.")
    if not embedder.reducible:
        raise Unsupported(
            f"dimension: {embedder.fingerprint.model} was not trained for shorter vectors than its {whole} components."
        )
    return MatryoshkaEmbedder(embedder, dimension)


def with_section_prefix(embedder: Embedder) -> Embedder:
    """Returns `embedder` for collections whose passages begin with their section."""
    fingerprint = embedder.fingerprint
    if has_section_prefix(fingerprint):
        return embedder
    return DerivedEmbedder(embedder, replace(fingerprint, prompt_version=fingerprint.prompt_version + _SECTIONS))


def has_section_prefix(fingerprint: Fingerprint) -> bool:
    """Returns whether the passages behind the vectors begin with their section."""
    return fingerprint.prompt_version.endswith(_SECTIONS)


def without_section_prefix(fingerprint: Fingerprint) -> Fingerprint:
    return replace(fingerprint, prompt_version=fingerprint.prompt_version.removesuffix(_SECTIONS))


class Embedders:
    def __init__(self, main: Embedder) -> None:
        self.main = main
        """Makes new collections."""
        self.agreements: dict[StoreName, Agreement] = {}
        """How the collections' golden vectors agree with those of the running models, as far as they were compared."""
        self._more: list[Embedder] = []

    @property
    def every(self) -> Sequence[Embedder]:
        return [self.main, *self._more]

    def add(self, embedder: Embedder) -> None:
        """Adds a second running model, used while a collection moves from one model to the other."""
        self._more.append(embedder)

    def running(self, fingerprint: Fingerprint) -> Embedder | None:
        return next((embedder for embedder in self.every if embedder.fingerprint == fingerprint), None)

    def named(self, fingerprint: Fingerprint) -> Embedder | None:
        """Returns the embedder of this fingerprint, including shorter vectors of a running model; None if no model
        matches.
        """
        if has_section_prefix(fingerprint):
            plain = self.named(without_section_prefix(fingerprint))
            return with_section_prefix(plain) if plain else None
        if found := self.running(fingerprint):
            return found
        for embedder in self.every:
            whole = embedder.fingerprint
            if fingerprint.dimension < whole.dimension and whole == replace(fingerprint, dimension=whole.dimension):
                return MatryoshkaEmbedder(embedder, fingerprint.dimension)
        return None

    def agree(self, store_name: StoreName) -> bool:
        """Returns whether nothing is known against the vectors of the collection."""
        found = self.agreements.get(store_name)
        return found is None or found.agrees

    def for_collection(self, name: str, store_name: StoreName, fingerprint: Fingerprint) -> Embedder:
        """Returns the embedder of a collection. Raises FingerprintMismatch if its vectors were made by a model that is
        not running, or if the running one does not compute them any more.
        """
        found = self.named(fingerprint)
        made, running = fingerprint, self.main.fingerprint
        if found is None:
            raise FingerprintMismatch(
                f"Collection {name!r} was made with {made.model} ({made.dimension} dimensions, fingerprint "
                f"{made.digest}), this node runs {running.model} ({running.dimension} dimensions, fingerprint "
                f"{running.digest}). Start the node with the first model, re-embed the collection with `tandem reembed "
                "--no-gate`, or ingest into a new one.",
                collection=name,
                stored=made.digest,
                running=running.digest,
            )
        self.require_agreement(name, store_name, made)
        return found

    def require_agreement(self, name: str, store_name: StoreName, made: Fingerprint) -> None:
        """Raises FingerprintMismatch if the collection's model, whose fingerprint is `made`, is known to compute other
        vectors now.
        """
        if self.agree(store_name):
            return
        raise FingerprintMismatch(
            f"Collection {name!r}: the engine computes other vectors with {made.model} than the collection holds "
            f"(cosine of golden vectors {self.agreements[store_name].cosine:.4f}, at least {MIN_COSINE}). Go back "
            "to the engine that made them, or re-embed the collection with `tandem reembed --no-gate`.",
            collection=name,
            stored=made.digest,
            running=made.digest,
        )
