"""Hits without a store."""

from retrieval.search.fusion import alone
from retrieval.search.query import Hit
from retrieval.types import Candidate, Chunk, ChunkId, DocumentId


def a_chunk(name: str, *, ordinal: int = 0, text: str = "", start: int = 0) -> Chunk:
    """Of the document that the name begins with, as in `document/chunk`."""
    document = name.partition("/")[0]
    text = text or name
    return Chunk(ChunkId(name), DocumentId(document), ordinal, text, start, start + len(text), 1)


def a_candidate(name: str, score: float = 0.5, **chunk: object) -> Candidate:
    return Candidate(
        a_chunk(name, **chunk),  # type: ignore[arg-type]
        score,
        title="",
        media_type="text/plain",
        partition="",
        metadata={},
        ingested_at=None,
    )


def recalled(**scores: float) -> list[Hit]:
    """By name, in the order given, as recall by vectors brings them."""
    return alone("dense", [a_candidate(name, score) for name, score in scores.items()])


def names(hits: list[Hit]) -> list[str]:
    return [hit.candidate.chunk.id for hit in hits]
