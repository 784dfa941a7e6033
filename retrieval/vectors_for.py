"""The collection whose vectors the current work computes. It goes along with requests to other nodes, which refuse if
their engines compute other vectors of the same model."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from retrieval.types import StoreName

_COLLECTION: ContextVar[StoreName | None] = ContextVar("vectors_for", default=None)


@contextmanager
def vectors_for(collection: StoreName) -> Iterator[None]:
    """Within, and in tasks that begin within, vectors are computed for `collection`."""
    token = _COLLECTION.set(collection)
    try:
        yield
    finally:
        _COLLECTION.reset(token)


def wanted_for() -> StoreName | None:
    """Returns the collection that vectors are computed for; None if they belong to none."""
    return _COLLECTION.get()
