"""Documents of a collection that fulfil a condition which the catalog does not know, or only in part."""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ingestion.ports import Catalog
from ingestion.types import DocumentRecord
from retrieval.errors import Unsupported
from retrieval.filters.tree import Filter
from retrieval.types import DocumentId

MAX_READ_IN_VAIN: Final = 20_000
"""Documents of a request that are read and not selected: some 2 seconds."""
READ_DOCUMENTS: Final = 100
"""Documents that are read at a time. Between two reads other requests take their turn."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A condition on documents, and what spares the catalog those that do not fulfil it."""

    holds: Callable[[DocumentRecord], bool]
    groups: Sequence[str] | None = None
    filter: Filter | None = None
    """This and `groups` are those of Catalog.documents; they follow from `holds`."""
    empty: bool = False
    """Whether it is true of no document at all."""

    def __call__(self, record: DocumentRecord) -> bool:
        return not self.empty and self.holds(record)


@dataclass(slots=True)
class Patience:
    """Bounds the documents that one request reads in vain, since the catalog could not leave them out."""

    left: int = MAX_READ_IN_VAIN

    def wear(self, in_vain: int) -> None:
        """Raises Unsupported once they are too many."""
        self.left -= in_vain
        if self.left < 0:
            raise Unsupported(
                f"More than {MAX_READ_IN_VAIN:,} documents would be read one by one for this list: the filter of this "
                "API key makes no comparison of text or numbers, outside of 'not', by which the database could leave "
                "them out. List one collection (GET /documents), or ask for a key whose filter does."
            )


EVERY: Final = Selection(lambda _: True)


async def selected(
    catalog: Catalog,
    collection: str,
    selection: Selection,
    *,
    after: DocumentId | None = None,
    prefix: str | None = None,
    at_once: int = READ_DOCUMENTS,
    patience: Patience | None = None,
) -> AsyncGenerator[DocumentRecord, None]:
    """Yields those after `after` that the selection is true of, ordered by id; `prefix` is that of Catalog.documents.
    Reads what the catalog cannot leave out, `at_once` by one query. Raises CollectionNotFound, and Unsupported where
    `patience` ends.
    """
    while not selection.empty:
        read = await catalog.documents(
            collection, after=after, limit=at_once, prefix=prefix, groups=selection.groups, filter=selection.filter
        )
        holding = [record for record in read if selection(record)]
        if patience is not None:
            patience.wear(len(read) - len(holding))
        for record in holding:
            yield record
        if len(read) < at_once:
            return
        after = read[-1].document.id
