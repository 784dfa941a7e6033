"""Chunks as the page shows them: what each repeats of the one before, and the rest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from retrieval.types import Chunk

MAX_CHUNKS: Final = 500
"""That a page shows."""


@dataclass(frozen=True, slots=True)
class Passage:
    chunk: Chunk
    repeated: str
    rest: str


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
