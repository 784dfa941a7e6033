"""The chunks of a document in order, and its text as the chunks hold it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.node.node import Node
from ingestion.types import Collection, DocumentRecord
from retrieval.types import Chunk

MAX_CHUNKS: Final = 500
"""Maximum number of chunks on a page."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk as the page shows it: the text that it repeats from the previous one, and the rest."""

    chunk: Chunk
    repeated: str
    rest: str


async def passages_of(
    node: Node, collection: Collection, record: DocumentRecord, *, first: int = 0, limit: int = MAX_CHUNKS
) -> list[Passage]:
    """Returns at most `limit` chunks of the document, from number `first` on, in order. Raises StoreUnavailable."""
    last = min(record.chunks, first + limit)
    found = await node.components.store.chunks(collection.store_name, {record.document.id: range(first, last)})
    return with_overlap(sorted(found.values(), key=lambda chunk: chunk.ordinal))


def with_overlap(chunks: Sequence[Chunk]) -> list[Passage]:
    """Returns the passages of `chunks`, which are in order. The overlap with the previous chunk follows from the
    offsets.
    """
    passages, end = [], 0
    for chunk in chunks:
        shared = min(max(end - chunk.start, 0), len(chunk.text))
        passages.append(Passage(chunk, chunk.text[:shared], chunk.text[shared:]))
        end = max(end, chunk.end)
    return passages


async def text_of(node: Node, collection: Collection, record: DocumentRecord) -> str:
    """Returns the document's text as its chunks hold it, overlaps once; white space between chunks is a line break."""
    every = await passages_of(node, collection, record, limit=record.chunks)
    return "\n".join(passage.rest for passage in every if passage.rest)
