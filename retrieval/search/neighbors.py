"""Adds the chunks around each hit: so many on either side, or those of its section."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile

from retrieval.filters.tree import Filter
from retrieval.ports import VectorStore
from retrieval.search.query import Context, Hit
from retrieval.types import Chunk, DocumentId, StoreName

MAX_SECTION_CHUNKS = 16
"""Chunks on either side of a hit that are looked at for its section."""


async def with_neighbors(
    store: VectorStore, collection: StoreName, hits: Sequence[Hit], neighbors: int, forced: Filter | None = None
) -> list[Hit]:
    """Returns each hit with the text of `neighbors` chunks on either side. Chunks that `forced` is not true of are
    missing. Raises the errors of the store.
    """
    found = await _read(store, collection, hits, neighbors, forced)
    contexts = []
    for hit in hits:
        chunk = hit.candidate.chunk
        before, after = _around(chunk, found, neighbors)
        contexts.append(joined([*reversed(before), chunk, *after]))
    return [replace(hit, context=context) for hit, context in zip(hits, contexts, strict=True)]


async def with_sections(
    store: VectorStore, collection: StoreName, hits: Sequence[Hit], max_tokens: int, forced: Filter | None = None
) -> list[Hit]:
    """Returns each hit with the text of its section, subsections included: of the chunks that belong to it, those
    nearest to the hit that have at most `max_tokens` tokens together with it. Chunks that `forced` is not true of are
    missing. Raises the errors of the store.
    """
    found = await _read(store, collection, hits, MAX_SECTION_CHUNKS, forced)
    return [replace(hit, context=joined(_section(hit.candidate.chunk, found, max_tokens))) for hit in hits]


def _section(chunk: Chunk, found: Mapping[tuple[DocumentId, int], Chunk], max_tokens: int) -> list[Chunk]:
    def belongs(other: Chunk) -> bool:
        # Text before the first heading is a section of its own.
        return other.section[: len(chunk.section)] == chunk.section if chunk.section else not other.section

    sides = [list(takewhile(belongs, side)) for side in _around(chunk, found, MAX_SECTION_CHUNKS)]
    taken, left = [chunk], max_tokens - chunk.tokens
    while any(sides):
        for side in sides:
            if side and side[0].tokens <= left:
                taken.append(side.pop(0))
                left -= taken[-1].tokens
            else:
                side.clear()
    return sorted(taken, key=lambda each: each.ordinal)


async def _read(
    store: VectorStore, collection: StoreName, hits: Sequence[Hit], neighbors: int, forced: Filter | None
) -> Mapping[tuple[DocumentId, int], Chunk]:
    wanted: dict[DocumentId, set[int]] = {}
    for hit in hits:
        ordinal = hit.candidate.chunk.ordinal
        around = range(max(ordinal - neighbors, 0), ordinal + neighbors + 1)
        wanted.setdefault(hit.candidate.chunk.document_id, set()).update(around)
    return await store.chunks(collection, wanted, filter=forced)


def _around(
    chunk: Chunk, found: Mapping[tuple[DocumentId, int], Chunk], neighbors: int
) -> tuple[list[Chunk], list[Chunk]]:
    """Returns the chunks before and after one, the nearest first."""
    before = _unbroken(chunk, found, range(chunk.ordinal - 1, chunk.ordinal - neighbors - 1, -1))
    after = _unbroken(chunk, found, range(chunk.ordinal + 1, chunk.ordinal + neighbors + 1))
    return before, after


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
    text, end = first.full_text, first.end
    for chunk in others:
        if chunk.start > end:
            text += "\n" + chunk.text
        elif chunk.end > end:
            text += chunk.text[end - chunk.start :]
        end = max(end, chunk.end)
    return Context(text, first.start, end)
