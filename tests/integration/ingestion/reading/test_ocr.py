"""OCR in real child processes, under their limits."""

import io
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from ingestion.errors import NoText, ParseFailed
from ingestion.parsers.child_process import ParserLimits
from ingestion.parsers.detect import PDF, detect
from ingestion.parsers.process import ProcessParser
from ingestion.types import ReadingOptions
from tests.support.files.pdfs import pdf, text

pytest.importorskip("rapidocr", reason="the dependency group ocr is not installed")
from PIL import Image, ImageDraw

WORDS = ("The winch is oiled every spring.", "Its rope is replaced in the third year.")


@pytest_asyncio.fixture(scope="module")
async def parser() -> AsyncIterator[ProcessParser]:
    parser = ProcessParser(ParserLimits(seconds=30), processes=1)
    await parser.start()
    yield parser
    await parser.close()


def picture(*words: str) -> Any:
    image = Image.new("RGB", (1000, 400), "white")
    for row, line in enumerate(words or WORDS):
        ImageDraw.Draw(image).text((60, 80 + 70 * row), line, fill="black", font_size=40)
    return image


def saved(kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture().save(buffer, kind, **options)
    return buffer.getvalue()


def squeezed(words: str) -> str:
    return "".join(words.split())


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
async def test_pictures(parser: ProcessParser, kind: str) -> None:
    data = saved(kind)
    document = await parser.parse(data, detect(data, filename=None, declared=None))
    assert squeezed(document.text) == squeezed(" ".join(WORDS))
    assert document.report.ocr_pages == (1,)
    assert document.report.ocr_confidence
    assert document.report.ocr_confidence > 0.9


async def test_a_scanned_page_among_typed_ones(parser: ProcessParser) -> None:
    buffer = io.BytesIO()
    picture().save(buffer, "PDF", resolution=120)
    document = await parser.parse(buffer.getvalue(), PDF)
    assert squeezed(document.text) == squeezed(" ".join(WORDS))
    assert document.report.pages == 1
    assert document.report.ocr_pages == (1,)
    with pytest.raises(NoText, match="disabled OCR"):
        await parser.parse(buffer.getvalue(), PDF, options=ReadingOptions(ocr="never"))


async def test_every_page_where_that_is_asked_for(parser: ProcessParser) -> None:
    data = pdf([text(72, 600, "The kiln is lit at dawn.", size=24)])
    assert (await parser.parse(data, PDF)).report.ocr_pages == ()
    document = await parser.parse(data, PDF, options=ReadingOptions(ocr="always"))
    assert squeezed(document.text) == squeezed("The kiln is lit at dawn.")
    assert document.report.ocr_pages == (1,)


async def test_every_frame_of_a_picture_is_a_page(parser: ProcessParser) -> None:
    data = saved("TIFF", save_all=True, append_images=[picture("Lock the shed at night.")])
    document = await parser.parse(data, "image/tiff")
    assert [page.number for page in document.pages] == [1, 2]
    assert squeezed(document.text[document.pages[1].start :]) == squeezed("Lock the shed at night.")


async def test_pictures_without_text_and_damaged_ones_are_refused(parser: ProcessParser) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (400, 300), "white").save(buffer, "PNG")
    with pytest.raises(NoText, match="OCR found no text"):
        await parser.parse(buffer.getvalue(), "image/png")
    with pytest.raises(ParseFailed, match="damaged"):
        await parser.parse(saved("PNG")[:300], "image/png")
    assert squeezed((await parser.parse(saved("PNG"), "image/png")).text) == squeezed(" ".join(WORDS))


async def test_a_picture_of_too_many_pixels_is_refused_before_it_is_unpacked(parser: ProcessParser) -> None:
    buffer = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(buffer, "PNG")
    with pytest.raises(ParseFailed, match="pixels"):
        await parser.parse(buffer.getvalue(), "image/png")
