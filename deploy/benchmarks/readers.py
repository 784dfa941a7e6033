"""Compares readers of PDF on the files of a folder: `python deploy/benchmarks/pdf_readers.py FOLDER`.

For each file and reader: how many of the letters and digits that the file's fonts name are in the text (kept), how many
runs of RUN of them follow one another as the file draws them (order), and the processor time of a page, the best of
ROUNDS.
Both readers are held against the same list: PDFium's characters as they are drawn, without any layout.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pypdfium2
import xberg

from ingestion.errors import ParseFailed
from ingestion.parsers.pdf.document import page_texts, read_pdf

RUN = 12
ROUNDS = 5


def squeezed(text: str) -> str:
    return "".join(char for char in text if char.isalnum())


def drawn(data: bytes) -> list[str]:
    """The letters and digits of each page."""
    with pypdfium2.PdfDocument(data) as document:
        return [squeezed(page.get_textpage().get_text_range()) for page in document]


def by_pdfium(data: bytes) -> str:
    return "\n".join(page_texts(read_pdf(data).pages))


def by_xberg(data: bytes) -> str:
    config = xberg.ExtractionConfig(
        use_cache=False, disable_ocr=True, output_format="markdown", pages=xberg.PageConfig(extract_pages=True)
    )
    source = xberg.ExtractInput(kind="bytes", bytes=data, mime_type="application/pdf")
    result = asyncio.run(_extract(source, config))
    if not result.results:
        raise ParseFailed(result.errors[0].message if result.errors else "no result")
    return "\n".join(page.content for page in result.results[0].pages or ())


async def _extract(source: xberg.ExtractInput, config: xberg.ExtractionConfig) -> xberg.ExtractionResult:
    return await xberg.extract(source, config)


def measure(read: Callable[[bytes], str], data: bytes, pages: list[str]) -> tuple[float, float, float]:
    """Kept, order, seconds per page."""
    best = float("inf")
    text = ""
    for _ in range(ROUNDS):
        start = time.process_time()
        try:
            text = read(data)
        except (ParseFailed, RuntimeError):
            return 0.0, 0.0, float("nan")
        best = min(best, time.process_time() - start)
    found = squeezed(text)
    wanted = Counter("".join(pages))
    kept = sum((wanted & Counter(found)).values()) / max(wanted.total(), 1)
    runs = [page[start : start + RUN] for page in pages for start in range(max(len(page) - RUN, 0) + 1)]
    order = sum(run in found for run in runs) / max(len(runs), 1)
    return kept, order, best / max(len(pages), 1)


def main(folder: str) -> None:
    print("| File | Pages | Kept | Order | ms a page | Kept, xberg | Order, xberg | ms a page, xberg |")  # noqa: T201
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")  # noqa: T201
    for path in sorted(Path(folder).glob("*.pdf")):
        data = path.read_bytes()
        pages = drawn(data)
        cells = [path.name, str(len(pages))]
        for read in (by_pdfium, by_xberg):
            kept, order, seconds = measure(read, data, pages)
            cells += [f"{kept:.1%}", f"{order:.1%}", f"{seconds * 1000:.0f}"]
        print(f"| {' | '.join(cells)} |", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
