"""Documents cut for an embedder: it counts what it is given next, and of a chunk the tokens are told without title."""

from collections.abc import Sequence

import pytest

from ingestion.pipeline.document_chunks import chunk_document, own_title
from ingestion.types import Chunking, Document, ParsedDocument
from retrieval.embedders import with_section_prefix
from retrieval.text.passages import passage, passage_of, path_line
from retrieval.types import DocumentId
from tests.support.models.fake_models import FakeEmbedder

TEXT = "First comes water. Then comes stone. Last comes fire."


class Counting(FakeEmbedder):
    def __init__(self) -> None:
        super().__init__()
        self.counted: list[str] = []

    def count(self, texts: Sequence[str]) -> Sequence[int]:
        self.counted += texts
        return super().count(texts)


def document(title: str, max_tokens: int) -> Document:
    return Document(
        collection="docs",
        id=DocumentId("d"),
        sha256="0" * 64,
        size=len(TEXT),
        media_type="text/plain",
        title=title,
        chunking=Chunking(max_tokens, 0),
    )


def test_a_chunk_is_counted_as_it_is_embedded_with_its_title() -> None:
    for title in ("", "A kiln: how it is fired"):
        for max_tokens in (100, 5):
            embedder = Counting()
            done = chunk_document(document(title, max_tokens), ParsedDocument(TEXT, "text/plain"), embedder)
            passages = [passage(done.title, chunk.text) for chunk in done.chunks()]
            assert set(passages) <= set(embedder.counted)
            alone = [len(embedder.tokenizer.encode(chunk.text).ids) for chunk in done.chunks()]
            assert [chunk.tokens for chunk in done.chunks()] == alone
            assert max(alone) <= max_tokens
            assert len(alone) == (1 if max_tokens == 100 else 3)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("---\ntags: [a]\ntitle: Of the file\n---\n\n# Heading\n", "Of the file"),
        ('---\ntitle: "Quoted: here"\n---\ntext', "Quoted: here"),
        ("---\ntags: [a]\n---\n\n# Heading\n", "Heading"),
        ("Underlined\n======\n\ntext", "Underlined"),
        ("# Heading\n\ntitle: no\n", "Heading"),
        ("---\n\ntitle: after a rule\n", ""),
        ("Text\nof two lines\n", ""),
    ],
)
def test_a_markdown_text_has_the_title_of_its_front_matter_or_first_heading(text: str, title: str) -> None:
    assert own_title(ParsedDocument(text, "text/markdown")) == title
    assert own_title(ParsedDocument(text, "text/plain")) == ""


def test_with_a_section_prefix_passages_begin_with_title_and_section_and_fit_the_window() -> None:
    text = "# Guide\n\n## Firing *it*\n\n" + " ".join(f"word{number}" for number in range(300))
    embedder = with_section_prefix(FakeEmbedder(max_tokens=100))
    done = chunk_document(document("Guide", 100), ParsedDocument(text, "text/markdown"), embedder)
    chunks = list(done.chunks())
    assert len(chunks) > 5
    for chunk in chunks:
        assert passage_of(done.title, chunk) == f"Guide\nFiring it\n{chunk.text}"
        assert len(embedder.tokenizer.encode(passage_of(done.title, chunk)).ids) <= 100
    plain = chunk_document(document("Guide", 100), ParsedDocument(text, "text/markdown"), FakeEmbedder(max_tokens=100))
    assert {passage_of(plain.title, chunk) for chunk in plain.chunks()} == {
        f"Guide\n{chunk.text}" for chunk in plain.chunks()
    }
    assert chunks[0].id != next(plain.chunks()).id


def test_a_collection_without_fields_for_sections_gets_none() -> None:
    rows = "\n".join(f"| {number} | b |" for number in range(60))
    parsed = ParsedDocument(f"# A\n\n| a | b |\n| - | - |\n{rows}", "text/markdown")
    done = chunk_document(document("", 60), parsed, FakeEmbedder(), sections=False)
    chunks = list(done.chunks())
    assert len(chunks) > 3
    assert all(passage_of("T", chunk) == f"T\n{chunk.text}" and not chunk.section for chunk in chunks)


@pytest.mark.parametrize(
    ("section", "line"),
    [(("T", "a", "b"), "a > b"), (("a", "T"), "a > T"), (("T",), ""), ((), ""), (("x " * 60, "y " * 60), "y " * 60)],
)
def test_a_section_in_one_line_has_the_innermost_headings_that_fit(section: tuple[str, ...], line: str) -> None:
    assert path_line(section, "T", FakeEmbedder().tokenizer) == line
