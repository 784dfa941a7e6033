from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import cast

import pytest

from retrieval.filters.tree import Filter
from retrieval.ports import VectorStore
from retrieval.search.fusion import alone
from retrieval.search.neighbors import joined, with_sections
from retrieval.search.query import Context
from retrieval.types import Chunk, DocumentId, StoreName
from tests.support.stores.hits import a_candidate, a_chunk

TEXT = "One two three four five six seven."


def part(start: int, end: int) -> object:
    return a_chunk("d/0", text=TEXT[start:end], start=start)


def test_overlap_is_there_once() -> None:
    assert joined([part(4, 18), part(8, 23), part(19, 34)]) == Context(TEXT[4:34], 4, 34)  # type: ignore[list-item]


def test_a_chunk_inside_another_adds_nothing() -> None:
    assert joined([part(0, 20), part(4, 9), part(14, 34)]) == Context(TEXT, 0, 34)  # type: ignore[list-item]


def test_white_space_between_chunks_is_a_line_break() -> None:
    chunks = [a_chunk("d/0", text="One.", start=0), a_chunk("d/1", ordinal=1, text="Two.", start=6)]
    assert joined(chunks) == Context("One.\nTwo.", 0, 10)


def test_one_alone_is_itself() -> None:
    assert joined([a_chunk("d/0", text="One.", start=7)]) == Context("One.", 7, 11)


class Document:
    """A store that holds one document: its chunks by section, ten tokens each."""

    def __init__(self, *sections: str) -> None:
        self.held = [
            replace(
                a_chunk(f"d/{place}", ordinal=place, text=f"text{place}", start=place * 10),
                section=tuple(section.split()),
                tokens=10,
            )
            for place, section in enumerate(sections)
        ]

    async def chunks(
        self, name: str, wanted: Mapping[DocumentId, Collection[int]], *, filter: Filter | None = None
    ) -> Mapping[tuple[DocumentId, int], Chunk]:
        return {
            (document, place): self.held[place]
            for document, places in wanted.items()
            for place in places
            if place < len(self.held)
        }

    async def section_of(self, place: int, max_tokens: int) -> str:
        hit = alone("dense", [replace(a_candidate("d/x"), chunk=self.held[place])])
        ((found,)) = await with_sections(cast("VectorStore", self), StoreName("c"), hit, max_tokens)
        assert found.context
        return found.context.text


@pytest.mark.parametrize(
    ("place", "max_tokens", "text"),
    [
        (2, 100, "text1\ntext2\ntext3\ntext4"),
        (3, 100, "text3"),
        (2, 30, "text1\ntext2\ntext3"),
        (1, 30, "text1\ntext2\ntext3"),
        (2, 5, "text2"),
        (0, 100, "text0"),
        (5, 100, "text5"),
    ],
)
async def test_a_section_is_its_chunks_nearest_to_the_hit(place: int, max_tokens: int, text: str) -> None:
    document = Document("", "A", "A", "A B", "A", "C")
    assert await document.section_of(place, max_tokens) == text


async def test_of_a_document_without_headings_all_of_it_is_the_section() -> None:
    assert await Document(*[""] * 40).section_of(20, 10_000) == "\n".join(f"text{place}" for place in range(4, 37))
