"""Every implementation of VectorStore. A new one adds the name of a fixture that yields it, started."""

import pytest

from retrieval.ports import VectorStore
from retrieval.types import StoreName
from tests.support.stores.vector_store import created

IMPLEMENTATIONS = ["lite_embedded_store", "lite_server_store", "milvus_server_store"]


@pytest.fixture(scope="session", params=IMPLEMENTATIONS)
def store(request: pytest.FixtureRequest) -> VectorStore:
    store: VectorStore = request.getfixturevalue(request.param)
    return store


@pytest.fixture(scope="session")
async def shared(store: VectorStore) -> StoreName:
    """A collection for all tests that keep to document ids of their own. To create one takes a server seconds."""
    return await created(store)
