"""Documents of a collection that fulfil a condition which the catalog does not know."""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final

from ingestion.ports import Catalog
from ingestion.types import DocumentRecord
from retrieval.types import DocumentId

Selects = Callable[[DocumentRecord], bool]

READ_DOCUMENTS: Final = 100
"""Documents that are read at a time. Between two reads other requests take their turn."""


async def selected(
    catalog: Catalog,
    collection: str,
    selects: Selects,
    *,
    after: DocumentId | None = None,
    prefix: str | None = None,
    groups: Sequence[str] | None = None,
    at_once: int = READ_DOCUMENTS,
) -> AsyncGenerator[DocumentRecord, None]:
    """Yields those after `after` that `selects` is true of, ordered by id; `prefix` and `groups` are those of
    Catalog.documents. Reads all of them, `at_once` by one query, so its time grows with the collection. Raises
    CollectionNotFound.
    """
    while True:
        read = await catalog.documents(collection, after=after, limit=at_once, prefix=prefix, groups=groups)
        for record in filter(selects, read):
            yield record
        if len(read) < at_once:
            return
        after = read[-1].document.id
