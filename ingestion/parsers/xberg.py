"""Extraction with xberg. Runs in the child process only (ingestion.parsers.child), on bytes only."""

import codecs
import html
import io
import re
import unicodedata
import zipfile
from collections.abc import Mapping

import xberg

from ingestion.errors import EncryptedDocument, ParseFailed, ParseLimit
from ingestion.parsers.assembly import Extraction, assemble, real_title
from ingestion.parsers.detect import DOC, EPUB, HTML, PLAIN, RTF, TEXT, XML
from ingestion.parsers.markup import prepared
from ingestion.parsers.office import rtf
from ingestion.parsers.office.package import Package, is_encrypted_package
from ingestion.parsers.text import decode, decode_unicode
from ingestion.types import Boilerplate, ReadingReport

_MARKUP = frozenset({HTML, XML})

_MIB = 2**20
_MAX_WARNINGS = 20
_NOTICES = tuple(
    f"[{attribute}*={word}]"
    for attribute in ("class", "id")
    for word in ("cookie", "consent", "gdpr", "breadcrumb", "newsletter")
)
"""Selectors of notices that web pages put over or around their text."""
# Of Word 97 to 2007 and of the versions in between.
_WORD_VERSIONS = (b"\xc0\0", b"\xc1\0", b"\xd9\0", b"\x01\x01", b"\x0c\x01", b"\x12\x01")
# Fonts are made unusable elsewhere; the text is as it was.
_FONT_METHODS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
_TITLE = re.compile(r"<title[^>]*>([^<]{1,2000})</title", re.IGNORECASE)
_CHARSET = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?([A-Za-z0-9_.:-]{2,32})""", re.IGNORECASE)
_XML_ENCODING = re.compile(r"""\A(\s*<\?xml[^>]{0,200}?)\s+encoding=["'][^"']{0,40}["']""")
_IMAGE = re.compile(r"!\[([^\[\]\n]*)\]\([^()\n]*\)")
# A target without scheme means nothing outside its site or book. One pair of parentheses inside is usual (Wikipedia).
_RELATIVE_LINK = re.compile(r"\[([^\[\]\n]*)\]\((?![a-z]+:)[^()\n]*(?:\([^()\n]*\)[^()\n]*){0,2}\)")
# What pages call their encoding, and the superset of it that they really use.
_CHARSETS = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "gb18030": "gb18030",
    "big5": "big5hkscs",
    "big5-hkscs": "big5hkscs",
    "shift_jis": "shift_jis",
    "euc-kr": "euc_kr",
    "windows-1252": "cp1252",
    "iso-8859-1": "cp1252",
}
_UNICODE = ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")
# Looked up here because the child cannot open files later, not even those of Python's codecs.
_CODECS = {name: codecs.lookup(name) for name in (*_CHARSETS.values(), *_UNICODE)}


def configuration(*, seconds: int, max_chars: int) -> Mapping[Boilerplate, xberg.ExtractionConfig]:
    """Extraction without OCR, cache, models, embedded archives or network, as menus and the like are read or not."""
    return {"keep": _configuration(seconds, max_chars, "keep"), "drop": _configuration(seconds, max_chars, "drop")}


def _configuration(seconds: int, max_chars: int, boilerplate: Boilerplate) -> xberg.ExtractionConfig:
    return xberg.ExtractionConfig(
        use_cache=False,
        disable_ocr=True,
        enable_quality_processing=False,
        escape_markdown=False,
        output_format="markdown",
        extraction_timeout_secs=seconds,
        max_archive_depth=0,
        pages=xberg.PageConfig(extract_pages=True),
        content_filter=xberg.ContentFilterConfig(include_footnotes=True, strip_repeating_text=False),
        html_options=_html_options(boilerplate),
        security_limits=xberg.SecurityLimits(
            max_archive_size=512 * _MIB, max_content_size=min(max_chars * 4, 256 * _MIB), max_table_cells=1_000_000
        ),
        concurrency=xberg.ConcurrencyConfig(max_threads=1),
    )


def _html_options(boilerplate: Boilerplate) -> xberg.ConversionOptions:
    drop = boilerplate == "drop"
    return xberg.ConversionOptions(
        # Metadata would come as a heading at the start of the text; the title is read below instead.
        extract_metadata=False,
        compact_tables=True,
        skip_images=True,
        preprocessing=xberg.PreprocessingOptions(
            enabled=drop, preset=xberg.PreprocessingPreset.AGGRESSIVE, remove_navigation=drop, remove_forms=False
        ),
        exclude_selectors=list(_NOTICES) if drop else [],
    )


async def extract(data: bytes, media_type: str, config: xberg.ExtractionConfig) -> Extraction:
    """Reads `data`. Raises EncryptedDocument, ParseLimit, NoText, ParseFailed."""
    title = ""
    if media_type in PLAIN:
        text = decode(data) or (await _call(data, TEXT, config, plain=True)).content
        return assemble([text], title)
    if media_type in _MARKUP:
        source = await decode_markup(data, config)
        if media_type == HTML:
            title = html.unescape(match[1]) if (match := _TITLE.search(source)) else ""
            source = prepared(source)
        else:
            source = _XML_ENCODING.sub(r"\1", source, count=1)
        # Where xberg has to compose characters itself it drops all structure.
        data = unicodedata.normalize("NFC", source).encode(errors="replace")
    elif is_encrypted_package(data) or (media_type == DOC and _is_protected_doc(data)):
        raise EncryptedDocument()
    elif media_type == EPUB:
        data = _prepared_book(data)
    elif media_type == RTF:
        data, title = rtf.prepared(data), real_title(rtf.title(data))
    document = await _call(data, media_type, config)
    title = title or ("" if media_type == RTF else real_title(document.metadata.title or ""))
    warnings = tuple(warning.message[:300] for warning in (document.processing_warnings or ())[:_MAX_WARNINGS])
    return assemble([_tidy(document.content, media_type)], title, report=ReadingReport(warnings=warnings))


async def _call(
    data: bytes, media_type: str, config: xberg.ExtractionConfig, *, plain: bool = False
) -> xberg.ExtractedDocument:
    override = xberg.FileExtractionConfig(output_format="plain") if plain else None
    source = xberg.ExtractInput(kind="bytes", bytes=data, mime_type=media_type, config=override)
    try:
        result = await xberg.extract(source, config)
    except RuntimeError as error:  # what xberg raises for every failure of a document
        raise _translated(str(error)) from error
    except MemoryError as error:
        raise ParseLimit("Reading the document takes more memory than allowed.") from error
    if not result.results:
        raise _translated(result.errors[0].message if result.errors else "no result")
    return result.results[0]


def _translated(message: str) -> ParseFailed:
    lowered = message.lower()
    if "encrypted" in lowered or "password" in lowered:
        return EncryptedDocument()
    if any(word in lowered for word in ("limit", "timed out", "timeout", "too large", "exceed", "bomb")):
        return ParseLimit(f"Reading the document takes more than allowed: {message[:200]}")
    return ParseFailed(f"The document is damaged: {message[:200]}")


async def decode_markup(data: bytes, config: xberg.ExtractionConfig) -> str:
    """Decodes markup: by byte order mark and UTF-8, then by its own declaration, then by xberg's detection."""
    text = decode_unicode(data)
    if text is not None:
        return text
    declared = _CHARSET.search(data[:4096])
    if declared and (name := _CHARSETS.get(declared[1].decode().lower())):
        return _CODECS[name].decode(data, "replace")[0]
    return decode(data) or (await _call(data, TEXT, config, plain=True)).content


async def html_text(source: str, config: xberg.ExtractionConfig) -> str:
    """Returns the text of an HTML source. Raises ParseFailed, ParseLimit."""
    data = unicodedata.normalize("NFC", prepared(source)).encode(errors="replace")
    return _tidy((await _call(data, HTML, config)).content, HTML)


def _prepared_book(data: bytes) -> bytes:
    """An EPUB whose chapters are as `prepared` makes them. Raises EncryptedDocument for one with copy protection."""
    package = Package(data)
    encryption = package.xml("META-INF/encryption.xml")
    methods = () if encryption is None else encryption.iter("EncryptionMethod")
    if any(method.get("Algorithm") not in _FONT_METHODS for method in methods):
        raise EncryptedDocument("The book is protected against copying. Send one without protection.")
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_STORED) as book:
        for name in package.names:
            part = package.read(name) or b""
            if name.lower().endswith((".xhtml", ".html", ".htm")) and (text := decode_unicode(part)) is not None:
                part = _XML_ENCODING.sub(r"\1", prepared(text), count=1).encode(errors="replace")
            book.writestr(zipfile.ZipInfo(name), part)
    return output.getvalue()


def _is_protected_doc(data: bytes) -> bool:
    """Returns whether the document is encrypted, by the flag in the header of the stream `WordDocument`, which begins
    with a sector of the file.
    """
    for start in range(512, len(data) - 12, 512):
        if data[start : start + 2] == b"\xec\xa5" and data[start + 2 : start + 4] in _WORD_VERSIONS:
            return bool(data[start + 11] & 1)
    return False


def _tidy(text: str, media_type: str) -> str:
    """Returns the Markdown without references that only the original's location gives a meaning."""
    if media_type in (HTML, EPUB):
        text = _IMAGE.sub(r"\1", text)
    return _RELATIVE_LINK.sub(r"\1", text) if media_type in (HTML, EPUB) else text
