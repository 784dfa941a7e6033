"""Compares this project's readers with xberg alone, on files of a folder: `python deploy/benchmarks/readers.py FOLDER`.

For each file and reader: how many of the letters and digits of the file are in the text (kept), how many runs of RUN of
them follow one another as in the file (order), and the processor time, the best of ROUNDS, per page of a PDF file and
else per file. Both readers are held against the same list, which a third way takes from the file without any layout:
PDFium's characters as they are drawn; the texts in the XML of Office files; the cells of a workbook that hold text; the
text nodes of HTML; the body of mail; the bytes of text files. Files of other formats are left out.
"""

import asyncio
import email.policy
import io
import re
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pypdfium2
import xberg

from ingestion.errors import ParseFailed
from ingestion.parsers import detect as types
from ingestion.parsers.pages.ocr_state import OcrLimits
from ingestion.parsers.pages.reader import PageReader
from ingestion.parsers.registry import ReadOptions, readers
from ingestion.parsers.xberg import configuration

RUN = 12
ROUNDS = 5
ENCODINGS = ("utf-8-sig", "big5hkscs", "gb18030")
READERS = readers(configuration(seconds=120, max_chars=10**8), PageReader(None, OcrLimits(1, 1)))


def squeezed(text: str) -> str:
    return "".join(char for char in text if char.isalnum())


class _Text(HTMLParser):
    """Collects the text nodes of a page, without scripts, styles and controls."""

    HIDDEN = frozenset({"script", "style", "title", "template", "select", "button", "textarea"})

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        if tag in self.HIDDEN:
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._inside and tag == self._inside[-1]:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.found.append(data)


def of_html(data: bytes) -> str:
    parser = _Text()
    parser.feed(decoded(data))
    return "".join(parser.found)


def decoded(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    for encoding in ENCODINGS:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


def of_xml(data: bytes, *names: str) -> str:
    """Returns the text of the elements that are named so, without the second version that some shapes have."""

    def texts(element: ElementTree.Element) -> Iterator[str]:
        name = element.tag.rpartition("}")[2]
        if name in names:
            yield "".join(element.itertext())
        elif name not in ("Fallback", "moveFrom"):
            for child in element:
                yield from texts(child)

    return "".join(texts(ElementTree.fromstring(data)))  # noqa: S314  (files of the caller)


def of_workbook(package: zipfile.ZipFile) -> Iterator[str]:
    strings: list[str] = []
    if "xl/sharedStrings.xml" in package.namelist():
        root = ElementTree.fromstring(package.read("xl/sharedStrings.xml"))  # noqa: S314
        for item in root:
            runs = [each for each in item.iter() if each.tag.endswith("}t")]
            phonetic = {id(each) for every in item.iter() if every.tag.endswith("}rPh") for each in every.iter()}
            strings.append("".join(each.text or "" for each in runs if id(each) not in phonetic))
    for name in _numbered(package, r"xl/worksheets/sheet(\d+)\.xml"):
        cells = [
            each
            for each in ElementTree.fromstring(package.read(name)).iter()  # noqa: S314
            if each.tag.endswith("}c") and each.get("t") == "s"
        ]
        yield from (strings[int(value)] for cell in cells if (value := cell.findtext("{*}v")))


def _numbered(package: zipfile.ZipFile, pattern: str) -> list[str]:
    found = {int(match[1]): name for name in package.namelist() if (match := re.fullmatch(pattern, name))}
    return [found[number] for number in sorted(found)]


def pages_of(data: bytes, media_type: str) -> list[str] | None:
    """Returns the letters and digits of each page, slide, cell or chapter; None for a format that is left out."""
    if media_type == types.PDF:
        with pypdfium2.PdfDocument(data) as document:
            texts = [page.get_textpage().get_text_range() for page in document]
    elif media_type in types.PLAIN:
        texts = [decoded(data)]
    elif media_type == types.HTML:
        texts = [of_html(data)]
    elif media_type == types.EML:
        body = email.message_from_bytes(data, policy=email.policy.default).get_body(("plain", "html"))
        texts = [str(body.get_content())] if body else []
    elif media_type in (types.DOCX, types.PPTX, types.XLSX, types.ODT, types.EPUB):
        with zipfile.ZipFile(io.BytesIO(data)) as package:
            if media_type == types.XLSX:
                texts = list(of_workbook(package))
            elif media_type == types.ODT:
                texts = [of_xml(package.read("content.xml"), "p", "h")]
            elif media_type == types.PPTX:
                slides = _numbered(package, r"ppt/slides/slide(\d+)\.xml")
                texts = [of_xml(package.read(name), "t") for name in slides]
            elif media_type == types.DOCX:
                texts = [of_xml(package.read("word/document.xml"), "t")]
            else:
                chapters = [name for name in package.namelist() if name.endswith(("html", "htm"))]
                texts = [of_html(package.read(name)) for name in chapters if "nav" not in name and "toc" not in name]
    else:
        return None
    return list(map(squeezed, texts))


def by_project(data: bytes, media_type: str) -> str:
    async def read() -> str:
        return (await READERS[media_type](data, ReadOptions())).text

    return asyncio.run(read())


def by_xberg(data: bytes, media_type: str) -> str:
    config = xberg.ExtractionConfig(
        use_cache=False, disable_ocr=True, output_format="markdown", pages=xberg.PageConfig(extract_pages=True)
    )
    source = xberg.ExtractInput(kind="bytes", bytes=data, mime_type=media_type)

    async def read() -> xberg.ExtractionResult:
        return await xberg.extract(source, config)

    result = asyncio.run(read())
    if not result.results:
        raise ParseFailed(result.errors[0].message if result.errors else "no result")
    document = result.results[0]
    return "\n".join(page.content for page in document.pages or ()) or document.content


def measure(
    read: Callable[[bytes, str], str], data: bytes, media_type: str, pages: list[str]
) -> tuple[float, float, float]:
    """Kept, order, seconds."""
    best = float("inf")
    text = ""
    for _ in range(ROUNDS):
        start = time.process_time()
        try:
            text = read(data, media_type)
        except (ParseFailed, RuntimeError):
            return 0.0, 0.0, float("nan")
        best = min(best, time.process_time() - start)
    found = squeezed(text)
    wanted = Counter("".join(pages))
    kept = sum((wanted & Counter(found)).values()) / max(wanted.total(), 1)
    runs = [page[start : start + RUN] for page in pages for start in range(max(len(page) - RUN, 0) + 1)]
    order = sum(run in found for run in runs) / max(len(runs), 1)
    return kept, order, best


def main(folder: str) -> None:
    print("| File | Pages | Kept | Order | ms | Kept, xberg | Order, xberg | ms, xberg |")  # noqa: T201
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")  # noqa: T201
    for path in sorted(Path(folder).iterdir(), key=lambda path: (path.suffix != ".pdf", path.suffix, path.name)):
        data = path.read_bytes()
        media_type = types.detect(data, filename=path.name)
        pages = pages_of(data, media_type)
        if not pages:
            continue
        divisor = len(pages) if media_type == types.PDF else 1
        cells = [path.name, str(len(pages)) if media_type == types.PDF else ""]
        for read in (by_project, by_xberg):
            kept, order, seconds = measure(read, data, media_type, pages)
            cells += [f"{kept:.1%}", f"{order:.1%}", f"{seconds * 1000 / divisor:.1f}"]
        print(f"| {' | '.join(cells)} |", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
