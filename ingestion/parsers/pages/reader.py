"""PDF files and pictures: pages that have text of their own, and pages that OCR has to read."""

from collections.abc import Callable, Iterable, Sequence

from ingestion.errors import NoText
from ingestion.parsers.assembly import Extraction, assemble, real_title
from ingestion.parsers.pages.ocr import Budget, Ocr, read_by_ocr, read_picture
from ingestion.parsers.pages.ocr_state import OcrLimits, OcrState
from ingestion.parsers.pdf.document import PdfPage, Picture, page_texts, read_pdf
from ingestion.types import OcrMode, ReadingReport

_WHY_NOT = {
    "never": "The request disabled OCR.",
    "off": "OCR is turned off here (TANDEM_OCR=never).",
    "not_installed": "OCR is not installed here: install the dependency group `ocr` and ingest the document again.",
    "broken": "OCR does not start here.",
    "nothing": "OCR found no text there either.",
}


class OcrNeeded(Exception):
    """The document has pages that OCR has to read, and this process has no OCR."""


class PageReader:
    """Reads in a process with OCR (`ocr`) or without (None)."""

    def __init__(self, ocr: Ocr | None, limits: OcrLimits) -> None:
        self._ocr = ocr
        self._limits = limits

    def read_pdf(self, data: bytes, mode: OcrMode, state: OcrState) -> Extraction:
        """Raises OcrNeeded, NoText, EncryptedDocument, ParseFailed."""
        budget = Budget(self._limits)
        stopped: list[str] = []

        def recognize(page: PdfPage, render: Callable[[float], Picture], size: tuple[float, float]) -> PdfPage:
            if page.quality.empty or mode == "never" or (mode == "auto" and page.quality.usable):
                return page
            if self._ocr is None:
                if state == "ready":
                    raise OcrNeeded
                return page
            if reason := budget.exhausted():
                stopped.append(reason)
                return page
            budget.take()
            return read_by_ocr(self._ocr, page, render, size)

        document = read_pdf(data, recognize)
        texts = page_texts(document.pages)
        why = "never" if mode == "never" else "nothing" if self._ocr else state
        report = _report(document.pages, texts, why, stopped[:1], document.unread_pages)
        return assemble(texts, real_title(document.title), range(1, len(texts) + 1), report)

    def read_picture(self, data: bytes, mode: OcrMode, state: OcrState) -> Extraction:
        """Raises OcrNeeded, NoText, ParseFailed, ParseLimit."""
        if mode == "never":
            raise NoText(f"A picture is read by OCR alone. {_WHY_NOT[mode]}")
        if self._ocr is None:
            if state == "ready":
                raise OcrNeeded
            raise NoText(f"A picture is read by OCR alone. {_WHY_NOT[state]}")
        budget = Budget(self._limits)
        pages = read_picture(self._ocr, data, budget)
        texts = page_texts(pages)
        stopped = [reason] if (reason := budget.exhausted()) and not all(texts) else []
        return assemble(texts, "", range(1, len(texts) + 1), _report(pages, texts, "nothing", stopped, 0))


def _report(
    pages: Sequence[PdfPage], texts: Sequence[str], why: str, stopped: Sequence[str], unread: int
) -> ReadingReport:
    numbered = list(zip(range(1, len(pages) + 1), pages, texts, strict=True))
    silent = [number for number, _, text in numbered if not text]
    drawn = [number for number, page, text in numbered if not text and not page.quality.empty]
    by_ocr = [number for number, page, _ in numbered if page.by_ocr]
    garbled = [number for number, page, text in numbered if text and page.quality.garbled and not page.by_ocr]
    pictures = [
        number
        for number, page, text in numbered
        if text and not page.by_ocr and not page.quality.usable and not page.quality.garbled
    ]
    sure = [page.confidence for page in pages if page.confidence is not None]
    confidence = round(sum(sure) / len(sure), 3) if sure else None
    warnings = []
    if drawn:
        warnings.append(f"No text could be read on {_pages(drawn)}. {_WHY_NOT[why]}")
    if pictures:
        warnings.append(f"Pictures with hardly any text fill {_pages(pictures)}. {_WHY_NOT[why]}")
    if garbled:
        warnings.append(
            f"The fonts do not say what the characters are on {_pages(garbled)}: the text there may be wrong. "
            f"{_WHY_NOT[why]}"
        )
    if by_ocr:
        warnings.append(f"OCR read {_pages(by_ocr)}, with a mean confidence of {confidence:.1%}.")
    warnings += [f"{reason}: later pages were not read by it." for reason in stopped]
    if unread:
        warnings.append(f"The document has more pages than are read: the last {unread:,} were left out.")
    return ReadingReport(len(pages) + unread, tuple(silent), tuple(by_ocr), confidence, tuple(warnings))


def _pages(numbers: Iterable[int]) -> str:
    """`page 2`; `pages 2 to 5, 9`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    words = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)
    return f"page {words}" if words.isdigit() else f"pages {words}"
