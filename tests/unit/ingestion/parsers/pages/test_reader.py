"""Which pages OCR reads, and what the report says of the others. OCR itself is a double here."""

from typing import Any, cast

import numpy as np
import pytest

from ingestion.errors import NoText
from ingestion.parsers.pages.ocr import Ocr
from ingestion.parsers.pages.ocr_state import OcrLimits, OcrState
from ingestion.parsers.pages.reader import OcrNeeded, PageReader
from ingestion.parsers.pdf.lines import Segment
from ingestion.types import OcrMode, ReadingReport
from tests.support.files.pdfs import pdf, text

PICTURE = bytes(range(64))
WHOLE_PAGE = "q 612 0 0 792 0 0 cm /P Do Q\n"
TYPED = text(72, 700, "This page has a sentence of its own, typed and not scanned.")
MIXED = pdf([TYPED, WHOLE_PAGE, WHOLE_PAGE, ""], picture=PICTURE)
"""Page 1 is typed, 2 and 3 are scans, 4 is blank."""


class FakeOcr:
    """Reads `found`, one after another; nothing when they are used up."""

    def __init__(self, *found: str) -> None:
        self.found = list(found)
        self.pictures: list[tuple[int, ...]] = []

    def segments(self, picture: np.ndarray, scale: float) -> tuple[list[Segment], float]:
        self.pictures.append(picture.shape)
        words = self.found.pop(0) if self.found else ""
        if not words:
            return [], 0.0
        return [Segment(words, 72, 72, 400, 84, 82, 10, bold=False, first_word=30)], 0.9


def reader(ocr: FakeOcr | None, *, pages: int = 10, seconds: float = 1e9) -> PageReader:
    return PageReader(cast("Ocr | None", ocr), OcrLimits(pages, seconds))


def test_pages_without_text_are_read_by_ocr() -> None:
    ocr = FakeOcr("second", "third")
    extraction = reader(ocr).read_pdf(MIXED, "auto", "ready")
    assert extraction.text.split("\n\n")[1:] == ["second", "third"]
    assert [number for number, _ in extraction.pages] == [1, 2, 3]
    assert extraction.report == ReadingReport(
        4, (4,), (2, 3), 0.9, ("OCR read pages 2 to 3, with a mean confidence of 90.0%.",)
    )
    assert ocr.pictures == [(2000, 1545, 3)] * 2


def test_every_page_is_read_by_ocr_where_that_is_asked_for() -> None:
    extraction = reader(FakeOcr("first", "second")).read_pdf(MIXED, "always", "ready")
    assert extraction.text == "first\n\nsecond"
    assert extraction.report.ocr_pages == (1, 2)
    assert extraction.report.pages_without_text == (3, 4)
    assert extraction.report.warnings[0] == "No text could be read on page 3. OCR found no text there either."


@pytest.mark.parametrize(
    ("mode", "state", "why"),
    [
        ("never", "ready", "The request disabled OCR."),
        ("auto", "off", "OCR is turned off here"),
        ("auto", "not_installed", "install the dependency group `ocr`"),
        ("always", "broken", "OCR does not start here."),
    ],
)
def test_without_ocr_the_report_says_what_was_not_read_and_why(mode: OcrMode, state: OcrState, why: str) -> None:
    report = reader(None).read_pdf(MIXED, mode, state).report
    assert report.pages_without_text == (2, 3, 4)
    assert report.ocr_pages == ()
    (warning,) = report.warnings
    assert warning.startswith("No text could be read on pages 2 to 3.")
    assert why in warning


@pytest.mark.parametrize("mode", ["auto", "always"])
def test_a_process_without_ocr_passes_scans_on(mode: OcrMode) -> None:
    with pytest.raises(OcrNeeded):
        reader(None).read_pdf(MIXED, mode, "ready")
    with pytest.raises(OcrNeeded):
        reader(None).read_picture(b"", mode, "ready")


def test_what_is_typed_needs_no_ocr() -> None:
    data = pdf([TYPED, ""])
    assert reader(None).read_pdf(data, "auto", "ready").report == ReadingReport(2, (2,))


def test_a_document_of_scans_alone_is_refused_in_words() -> None:
    with pytest.raises(NoText, match=r"No text could be read on pages 1 to 2\. OCR is not installed here"):
        reader(None).read_pdf(pdf([WHOLE_PAGE] * 2, picture=PICTURE), "auto", "not_installed")


@pytest.mark.parametrize(("state", "why"), [("off", "turned off"), ("not_installed", "not installed")])
def test_a_picture_without_ocr_is_refused_in_words(state: OcrState, why: str) -> None:
    with pytest.raises(NoText, match=f"A picture is read by OCR alone.*{why}"):
        reader(None).read_picture(b"", "auto", state)


def test_a_page_number_on_a_scan_is_no_text() -> None:
    data = pdf([WHOLE_PAGE + text(300, 30, "17")], picture=PICTURE)
    assert reader(FakeOcr("The scanned words")).read_pdf(data, "auto", "ready").text == "The scanned words"
    report = reader(None).read_pdf(data, "auto", "off").report
    assert report.warnings[0].startswith("Pictures with hardly any text fill page 1. OCR is turned off here")


def test_fonts_that_do_not_say_what_they_draw_need_ocr() -> None:
    data = pdf([text(72, 700, "garble" * 10, font="F9")], mapped={char: chr(0xE000 + ord(char)) for char in "garble"})
    assert reader(FakeOcr("what it shows")).read_pdf(data, "auto", "ready").text == "what it shows"
    report = (
        reader(None)
        .read_pdf(
            pdf(
                [TYPED + text(72, 600, "garble" * 10, font="F9")],
                mapped={char: chr(0xE000 + ord(char)) for char in "garble"},
            ),
            "auto",
            "not_installed",
        )
        .report
    )
    assert report.warnings[0].startswith("The fonts do not say what the characters are on page 1")


def test_ocr_has_bounds_that_are_named() -> None:
    data = pdf([WHOLE_PAGE] * 4, picture=PICTURE)
    for bound, name in (({"pages": 2}, "TANDEM_OCR_PAGES"), ({"seconds": -1.0}, "TANDEM_OCR_SECONDS")):
        ocr = FakeOcr("one", "two", "three")
        try:
            report = reader(ocr, **cast("dict[str, Any]", bound)).read_pdf(data, "auto", "ready").report
            assert report.ocr_pages == (1, 2)
            assert report.pages_without_text == (3, 4)
            said = " ".join(report.warnings)
        except NoText as error:
            said = error.message
        assert name in said
        assert len(ocr.pictures) == bound.get("pages", 0)
