"""Maps media types to readers. To add a format, add its type to detect.ACCEPTED and a line here."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from xberg import ExtractionConfig

from ingestion.errors import ParseLimit
from ingestion.parsers import xberg
from ingestion.parsers.assembly import Extraction
from ingestion.parsers.detect import (
    ACCEPTED,
    DOCX,
    EML,
    JSON,
    JSONL,
    MSG,
    ODP,
    ODS,
    ODT,
    PDF,
    PICTURES,
    PPT,
    PPTX,
    SRT,
    VTT,
    XLS,
    XLSX,
)
from ingestion.parsers.mail.eml import read_mail
from ingestion.parsers.mail.outlook import read_outlook
from ingestion.parsers.office.old_slides import read_old_slides
from ingestion.parsers.office.old_workbook import read_old_workbook
from ingestion.parsers.office.opendocument.sheets import read_spreadsheet
from ingestion.parsers.office.opendocument.slides import read_presentation
from ingestion.parsers.office.opendocument.text import read_text_document
from ingestion.parsers.office.slides import read_slides
from ingestion.parsers.office.word import read_word
from ingestion.parsers.office.workbook import read_workbook
from ingestion.parsers.pages.ocr_state import OcrState
from ingestion.parsers.pages.reader import PageReader
from ingestion.parsers.subtitles import read_subtitles
from ingestion.parsers.values import read_json, read_json_lines
from ingestion.types import Boilerplate, OcrMode


@dataclass(frozen=True, slots=True)
class ReadOptions:
    ocr: OcrMode = "never"
    ocr_state: OcrState = "off"
    boilerplate: Boilerplate = "keep"


Reader = Callable[[bytes, ReadOptions], Coroutine[Any, Any, Extraction]]
"""Raises EncryptedDocument, NoText, ParseFailed, ParseLimit; those of pages also OcrNeeded."""


def readers(configs: Mapping[Boilerplate, ExtractionConfig], pages: PageReader) -> Mapping[str, Reader]:
    """Returns the readers by media type, one for each of ACCEPTED."""
    config = configs["keep"]

    async def pdf(data: bytes, options: ReadOptions) -> Extraction:
        return pages.read_pdf(data, options.ocr, options.ocr_state)

    async def picture(data: bytes, options: ReadOptions) -> Extraction:
        return pages.read_picture(data, options.ocr, options.ocr_state)

    async def mail(data: bytes, _options: ReadOptions) -> Extraction:
        return await read_mail(data, partial(xberg.html_text, config=config))

    async def outlook(data: bytes, _options: ReadOptions) -> Extraction:
        return await read_outlook(data, partial(xberg.html_text, config=config))

    def converted(media_type: str) -> Reader:
        async def read(data: bytes, options: ReadOptions) -> Extraction:
            return await xberg.extract(data, media_type, configs[options.boilerplate])

        return read

    def values(read_source: Callable[[str], Extraction]) -> Reader:
        async def read(data: bytes, _options: ReadOptions) -> Extraction:
            return read_source(await xberg.decode_markup(data, config))

        return read

    return {media_type: converted(media_type) for media_type in ACCEPTED} | {
        PDF: pdf,
        **dict.fromkeys(PICTURES, picture),
        DOCX: _plainly(read_word),
        PPTX: _plainly(read_slides),
        XLSX: _plainly(read_workbook),
        ODT: _plainly(read_text_document),
        ODS: _plainly(read_spreadsheet),
        ODP: _plainly(read_presentation),
        JSON: values(read_json),
        JSONL: values(read_json_lines),
        XLS: _plainly(read_old_workbook),
        PPT: _plainly(read_old_slides),
        EML: mail,
        MSG: outlook,
        **dict.fromkeys((SRT, VTT), values(read_subtitles)),
    }


def _plainly(read_bytes: Callable[[bytes], Extraction]) -> Reader:
    async def read(data: bytes, _options: ReadOptions) -> Extraction:
        try:
            return read_bytes(data)
        except RecursionError as error:
            raise ParseLimit("The document is nested more deeply than is read.") from error

    return read
