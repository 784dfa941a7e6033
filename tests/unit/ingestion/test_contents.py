"""What a document became, read back from its chunks: pages that join, and no answer that hides a gap."""

from collections.abc import Collection, Mapping
from typing import cast

import pytest

import ingestion.contents
from ingestion.contents import DocumentContents
from ingestion.errors import DocumentBusy
from ingestion.ports import Catalog
from ingestion.types import Collection as HeldCollection
from ingestion.types import DocumentRecord
from retrieval.errors import InvalidRequest
from retrieval.filters.tree import Filter
from retrieval.ports import VectorStore
from retrieval.types import Chunk, ChunkId, DocumentId
from tests.support.stores.catalog import NOW, a_collection, a_document

ID = DocumentId("guides/kiln.md")
TEXT = "# Kiln\n\nLight it at dawn. Hold it.\n\n\n- Cool it\n  with the door shut."
SPANS = [(0, 6), (8, 25), (20, 34), (37, 46), (49, 68)]


class Held:
    """The catalog and the store of one document."""

    def __init__(self) -> None:
        self.chunks_held = {
            ordinal: Chunk(ChunkId(f"{ordinal:032x}"), ID, ordinal, TEXT[start:end], start, end, 3)
            for ordinal, (start, end) in enumerate(SPANS)
        }
        self.digest = "d1"
        self.count = len(SPANS)

    async def collection(self, name: str) -> HeldCollection:
        return a_collection(name)

    async def document(self, collection: str, document_id: DocumentId) -> DocumentRecord:
        assert document_id == ID
        return DocumentRecord(
            a_document(ID, collection=collection), 1, "ready", 1, self.count, 15, 0, NOW, NOW, None, self.digest
        )

    async def chunks(
        self, name: str, wanted: Mapping[DocumentId, Collection[int]], *, filter: Filter | None = None
    ) -> Mapping[tuple[DocumentId, int], Chunk]:
        assert name == a_collection("docs").store_name
        return {
            (ID, ordinal): self.chunks_held[ordinal]
            for ordinal in reversed(list(wanted[ID]))
            if ordinal in self.chunks_held
        }


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def contents(held: Held) -> DocumentContents:
    return DocumentContents(cast("Catalog", held), cast("VectorStore", held))


async def test_pages_of_chunks_are_all_chunks_once_in_their_order(contents: DocumentContents) -> None:
    found, cursor = [], None
    while True:
        page = await contents.chunks("docs", ID, limit=2, cursor=cursor)
        assert len(page.chunks) <= 2
        found += [(chunk.start, chunk.end) for chunk in page.chunks]
        if page.next is None:
            break
        cursor = str(page.next)
    assert found == SPANS


async def test_the_text_has_every_character_at_its_offset(
    contents: DocumentContents, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = await contents.text("docs", ID)
    assert (whole.start, whole.end, whole.next) == (0, len(TEXT), None)
    assert all(whole.text[start:end] == TEXT[start:end] for start, end in SPANS)
    assert whole.text.split() == TEXT.split()
    monkeypatch.setattr(ingestion.contents, "MAX_TEXT_CHARACTERS", 10)
    monkeypatch.setattr(ingestion.contents, "_READ_CHUNKS", 2)
    first = await contents.text("docs", ID)
    assert (first.start, first.end) == (0, 25)
    second = await contents.text("docs", ID, cursor=str(first.next))
    assert (second.start, second.text) == (25, whole.text[25 : second.end])
    assert await contents.whole_text("docs", ID) == whole.text


async def test_a_cursor_of_an_earlier_version_is_refused(held: Held, contents: DocumentContents) -> None:
    cursor = str((await contents.chunks("docs", ID, limit=1)).next)
    held.digest = "d2"
    with pytest.raises(InvalidRequest, match="was replaced"):
        await contents.chunks("docs", ID, limit=1, cursor=cursor)
    with pytest.raises(InvalidRequest, match="was replaced"):
        await contents.text("docs", ID, cursor=cursor)


@pytest.mark.parametrize("cursor", ["x", "1", "1.2", "1.2.", "-1.0.d1", "٣.0.d1", "9" * 40 + ".0.d1"])
async def test_what_is_no_cursor_is_refused(contents: DocumentContents, cursor: str) -> None:
    with pytest.raises(InvalidRequest, match="cursor"):
        await contents.chunks("docs", ID, limit=1, cursor=cursor)


async def test_a_missing_chunk_is_an_error_and_no_gap(held: Held, contents: DocumentContents) -> None:
    del held.chunks_held[3]
    with pytest.raises(DocumentBusy, match="1 of 5 chunks"):
        await contents.text("docs", ID)


async def test_a_document_that_was_never_searchable_has_nothing(held: Held, contents: DocumentContents) -> None:
    held.count, held.digest = 0, ""
    assert (await contents.chunks("docs", ID, limit=5)).chunks == []
    text = await contents.text("docs", ID)
    assert (text.text, text.start, text.end, text.next) == ("", 0, 0, None)
