"""The running models against what collections hold: the comparison at start."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from ingestion.catalog import records
from ingestion.catalog.catalog import SqlCatalog
from ingestion.collections.vector_agreement import VectorAgreement
from ingestion.types import Collection
from retrieval.embedders import Embedders
from retrieval.errors import FingerprintMismatch
from retrieval.evaluation.golden_vectors import GOLDEN_TEXTS, GoldenText, GoldenVectors
from retrieval.types import StoreName
from tests.support.models.fake_models import FakeEmbedder
from tests.support.models.other_engine import OtherEngine
from tests.support.stores.catalog import a_collection


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[SqlCatalog]:
    catalog = SqlCatalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    await catalog.start()
    yield catalog
    await catalog.close()


async def started(embedder: FakeEmbedder, catalog: SqlCatalog) -> tuple[Embedders, VectorAgreement]:
    await embedder.start()
    embedders = Embedders(embedder)
    return embedders, VectorAgreement(catalog, embedders)


def collection(name: str = "docs", dimension: int = 384) -> Collection:
    fingerprint = replace(FakeEmbedder().fingerprint, dimension=dimension)
    return replace(a_collection(name), fingerprint=fingerprint)


def embedder_of(embedders: Embedders, of: Collection) -> object:
    return embedders.for_collection(of.name, of.store_name, of.fingerprint)


def test_a_stored_fingerprint_with_an_engine_is_one_of_the_same_model() -> None:
    fingerprint = FakeEmbedder().fingerprint
    assert records.fingerprint(asdict(fingerprint)) == fingerprint
    assert records.fingerprint({**asdict(fingerprint), "engine": "vllm-0.32"}) == fingerprint
    assert records.fingerprint({**asdict(fingerprint), "revision": "1" * 12, "engine": "vllm-0.32"}) != fingerprint


async def test_collections_without_golden_vectors_get_them(catalog: SqlCatalog) -> None:
    embedders, agreement = await started(FakeEmbedder(), catalog)
    await catalog.add_collection(collection())
    assert await catalog.golden_vectors(collection().store_name) is None
    await agreement.check()
    stored = await catalog.golden_vectors(collection().store_name)
    assert stored is not None
    assert (stored.texts, stored.vectors.shape) == (GOLDEN_TEXTS, (len(GOLDEN_TEXTS), 384))
    assert embedder_of(embedders, collection()) is embedders.main
    # They are those of the first start for ever.
    embedders, agreement = await started(OtherEngine(), catalog)
    await agreement.check()
    again = await catalog.golden_vectors(collection().store_name)
    assert again is not None
    np.testing.assert_array_equal(again.vectors, stored.vectors)


async def test_another_engine_that_computes_the_same_goes_on(catalog: SqlCatalog) -> None:
    _, agreement = await started(FakeEmbedder(), catalog)
    await catalog.add_collection(collection())
    await agreement.record(collection())
    embedders, agreement = await started(OtherEngine(by=0.01), catalog)
    await agreement.check()
    found = embedders.agreements[collection().store_name]
    assert found.agrees
    assert 0.99 < found.cosine < 1
    assert embedder_of(embedders, collection()) is embedders.main
    assert not agreement.refused


async def test_an_engine_that_computes_otherwise_is_refused_where_it_matters(catalog: SqlCatalog) -> None:
    short = collection("short", dimension=64)
    previous = replace(collection("docs~other"), store_name=StoreName("previous"))
    _, agreement = await started(FakeEmbedder(), catalog)
    for each in (collection(), short, previous):
        await catalog.add_collection(each)
        await agreement.record(each)
    embedders, agreement = await started(OtherEngine(), catalog)
    await agreement.check()
    # A previous version is nothing to act on, but nobody may go back to it.
    assert set(agreement.refused) == {"docs", "short"}
    for each in (collection(), short, previous):
        with pytest.raises(FingerprintMismatch, match="tandem reembed --no-gate"):
            embedder_of(embedders, each)
    fresh = replace(collection("fresh"), store_name=StoreName("fresh"))
    await catalog.add_collection(fresh)
    await agreement.record(fresh)
    assert embedder_of(embedders, fresh) is embedders.main
    agreement.replaced("docs")
    assert set(agreement.refused) == {"short"}


async def test_the_stored_texts_are_compared(catalog: SqlCatalog) -> None:
    """A later release may choose other texts: what it stored before is compared all the same."""
    embedder = FakeEmbedder()
    embedders, agreement = await started(embedder, catalog)
    await catalog.add_collection(collection())
    texts = (GoldenText("document", "an older choice"),)
    axis = np.eye(1, 384, dtype=np.float32)
    await catalog.set_golden_vectors(collection().store_name, GoldenVectors(texts, axis))
    await agreement.check()
    expected = embedder._vector(["an", "older", "choice"], [])[0]
    assert embedders.agreements[collection().store_name].cosine == pytest.approx(float(expected), abs=1e-5)


async def test_collections_of_a_model_that_does_not_run_are_left_alone(catalog: SqlCatalog) -> None:
    embedders, agreement = await started(FakeEmbedder(), catalog)
    await catalog.add_collection(a_collection())
    await agreement.check()
    assert await catalog.golden_vectors(a_collection().store_name) is None
    assert not embedders.agreements
    with pytest.raises(FingerprintMismatch, match="was made with model"):
        embedder_of(embedders, a_collection())


async def test_collections_of_one_model_are_embedded_for_once(catalog: SqlCatalog) -> None:
    class Counting(FakeEmbedder):
        texts = 0

        async def embed(self, texts: Sequence[str], **kwargs: object) -> object:  # type: ignore[override]
            self.texts += len(texts)
            return await super().embed(texts, **kwargs)  # type: ignore[arg-type]

    embedder = Counting()
    _, agreement = await started(embedder, catalog)
    for number in range(5):
        await catalog.add_collection(collection(f"c{number}"))
    await agreement.check()
    assert embedder.texts == len(GOLDEN_TEXTS)
    await agreement.check()
    assert embedder.texts == 2 * len(GOLDEN_TEXTS)
