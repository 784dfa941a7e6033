"""What a server says, in this service's errors."""

import pytest
from pymilvus import MilvusException

from retrieval.errors import CollectionNotFound, StoreFailed, StoreFull, StoreUnavailable, TandemError
from retrieval.stores.milvus.errors import DISK_FULL, translated


@pytest.mark.parametrize(
    ("code", "expected"),
    [(1, StoreFailed), (8, StoreUnavailable), (9, StoreUnavailable), (100, CollectionNotFound), (DISK_FULL, StoreFull)],
)
def test_each_code_has_its_error(code: int, expected: type[TandemError]) -> None:
    error = translated(MilvusException(code, "said so"))
    assert type(error) is expected
    assert "said so" in error.message
