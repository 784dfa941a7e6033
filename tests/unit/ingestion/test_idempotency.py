from dataclasses import replace

import pytest

from ingestion.service import request_digest
from ingestion.types import Chunking, Document, IngestOptions
from retrieval.types import DocumentId

DEFAULTS = IngestOptions()
DOCUMENT = Document(
    collection="docs",
    id=DocumentId("a"),
    sha256="0" * 64,
    size=3,
    media_type="text/plain",
    title="A",
    partition="p",
    metadata={"x": 1, "y": [2]},
)


def test_the_order_of_metadata_makes_no_other_request() -> None:
    turned = replace(DOCUMENT, metadata={"y": [2], "x": 1})
    assert request_digest([turned], DEFAULTS) == request_digest([DOCUMENT], DEFAULTS)
    assert len(request_digest([DOCUMENT], DEFAULTS)) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"collection": "other"},
        {"id": "b"},
        {"sha256": "1" * 64},
        {"title": "B"},
        {"partition": "q"},
        {"metadata": {"x": 2, "y": [2]}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_any_other_wish_is_another_request(change: dict[str, object]) -> None:
    assert request_digest([replace(DOCUMENT, **change)], DEFAULTS) != request_digest([DOCUMENT], DEFAULTS)  # type: ignore[arg-type]


def test_chunking_number_and_order_count() -> None:
    other = replace(DOCUMENT, id=DocumentId("b"))
    digests = {
        request_digest([DOCUMENT], DEFAULTS),
        request_digest([DOCUMENT], IngestOptions(Chunking())),
        request_digest([DOCUMENT], IngestOptions(Chunking(64, 8))),
        request_digest([DOCUMENT, DOCUMENT], DEFAULTS),
        request_digest([DOCUMENT, other], DEFAULTS),
        request_digest([other, DOCUMENT], DEFAULTS),
    }
    assert len(digests) == 6


def test_what_is_found_out_does_not_count() -> None:
    detected = replace(DOCUMENT, media_type="text/markdown", chunking=Chunking(64, 8))
    assert request_digest([detected], DEFAULTS) == request_digest([DOCUMENT], DEFAULTS)


def test_ocr_counts_where_the_request_names_it() -> None:
    digests = {request_digest([DOCUMENT], IngestOptions(ocr=mode)) for mode in (None, "auto", "never", "always")}
    assert len(digests) == 4
    assert request_digest([replace(DOCUMENT, ocr="never")], DEFAULTS) == request_digest([DOCUMENT], DEFAULTS)
