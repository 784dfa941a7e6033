"""Adds the chunks around each hit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from retrieval.ports import VectorStore
from retrieval.search.query import Context, Hit
from retrieval.types import Chunk, DocumentId, StoreName


async def with_neighbors(store: VectorStore, collection: StoreName, hits: Sequence[Hit], neighbors: int) -> list[Hit]:
    """Returns each hit with the text of `neighbors` chunks on either side. Raises the errors of the store."""
    wanted: dict[DocumentId, set[int]] = {}
    for hit in hits:
        ordinal = hit.candidate.chunk.ordinal
        around = range(max(ordinal - neighbors, 0), ordinal + neighbors + 1)
        wanted.setdefault(hit.candidate.chunk.document_id, set()).update(around)
    found = await store.chunks(collection, wanted)
    return [replace(hit, context=joined(_around(hit.candidate.chunk, found, neighbors))) for hit in hits]


def _around(chunk: Chunk, found: Mapping[tuple[DocumentId, int], Chunk], neighbors: int) -> Iterable[Chunk]:
    before = _unbroken(chunk, found, range(chunk.ordinal - 1, chunk.ordinal - neighbors - 1, -1))
    after = _unbroken(chunk, found, range(chunk.ordinal + 1, chunk.ordinal + neighbors + 1))
    return [*reversed(before), chunk, *after]


def _unbroken(chunk: Chunk, found: Mapping[tuple[DocumentId, int], Chunk], ordinals: Iterable[int]) -> list[Chunk]:
    """Returns the consecutive chunks on one side. A missing chunk (its document is being replaced) ends the context
    there.
    """
    side: list[Chunk] = []
    for ordinal in ordinals:
        neighbor = found.get((chunk.document_id, ordinal))
        if neighbor is None:
            break
        side.append(neighbor)
    return side


def joined(chunks: Iterable[Chunk]) -> Context:
    """Joins chunks of one document, in order, at least one."""
    first, *others = chunks
    text, end = first.text, first.end
    for chunk in others:
        if chunk.start > end:
            text += "\n" + chunk.text
        elif chunk.end > end:
            text += chunk.text[end - chunk.start :]
        end = max(end, chunk.end)
    return Context(text, first.start, end)
