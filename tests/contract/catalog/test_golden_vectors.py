"""Catalog: golden vectors belong to the vectors of a collection, whatever name these have."""

from dataclasses import replace

import numpy as np

from ingestion.catalog.catalog import SqlCatalog
from retrieval.evaluation.golden_vectors import GoldenText, GoldenVectors
from retrieval.types import StoreName
from tests.support.stores.catalog import a_collection

OTHER = StoreName("another version")
TEXTS = (GoldenText("query", "wo?"), GoldenText("document", "在院子里"))


def golden(seed: int, *, dimension: int = 8) -> GoldenVectors:
    vectors = np.random.default_rng(seed).normal(size=(len(TEXTS), dimension)).astype(np.float32)
    return GoldenVectors(TEXTS, vectors)


async def holds(catalog: SqlCatalog, store_name: StoreName, expected: GoldenVectors) -> bool:
    found = await catalog.golden_vectors(store_name)
    assert found is not None
    assert found.vectors.dtype == np.float32
    return found.texts == expected.texts and np.array_equal(found.vectors, expected.vectors)


async def test_are_kept_replaced_and_removed_with_the_collection(catalog: SqlCatalog) -> None:
    collection = a_collection()
    await catalog.set_golden_vectors(collection.store_name, golden(1))
    assert await catalog.golden_vectors(collection.store_name) is None
    await catalog.add_collection(collection)
    assert await catalog.golden_vectors(collection.store_name) is None
    for seed in (1, 2):
        await catalog.set_golden_vectors(collection.store_name, golden(seed))
        assert await holds(catalog, collection.store_name, golden(seed))
    assert await catalog.collections() == [collection]
    await catalog.remove_collection(collection.name)
    await catalog.add_collection(collection)
    assert await catalog.golden_vectors(collection.store_name) is None


async def test_an_exchange_takes_them_along(catalog: SqlCatalog) -> None:
    current, other = a_collection(), replace(a_collection("docs~other"), store_name=OTHER)
    for seed, each in enumerate((current, other)):
        await catalog.add_collection(each)
        await catalog.set_golden_vectors(each.store_name, golden(seed, dimension=8 * (seed + 1)))
    assert await catalog.swap_collections(current.name, other.name)
    assert (await catalog.collection(current.name)).store_name == OTHER
    assert await holds(catalog, current.store_name, golden(0))
    assert await holds(catalog, OTHER, golden(1, dimension=16))
