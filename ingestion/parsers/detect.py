"""Detects the type of bytes: by content first, then by the file's extension and the declared type (pure)."""

import struct
from pathlib import PurePath

from ingestion.errors import MediaTypeMismatch, UnsupportedMediaType
from ingestion.parsers.text import decode_unicode, is_readable
from retrieval.errors import EmptyText

PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ODT = "application/vnd.oasis.opendocument.text"
ODS = "application/vnd.oasis.opendocument.spreadsheet"
ODP = "application/vnd.oasis.opendocument.presentation"
EPUB = "application/epub+zip"
DOC = "application/msword"
XLS = "application/vnd.ms-excel"
PPT = "application/vnd.ms-powerpoint"
MSG = "application/vnd.ms-outlook"
RTF = "application/rtf"
HTML = "text/html"
MARKDOWN = "text/markdown"
TEXT = "text/plain"
CSV = "text/csv"
TSV = "text/tab-separated-values"
JSON = "application/json"
JSONL = "application/x-ndjson"
XML = "application/xml"
EML = "message/rfc822"
SRT = "application/x-subrip"
VTT = "text/vtt"
ZIP = "application/zip"
PNG = "image/png"
JPEG = "image/jpeg"
WEBP = "image/webp"
TIFF = "image/tiff"
BMP = "image/bmp"
HEIC = "image/heic"

PICTURES = (PNG, JPEG, WEBP, TIFF, BMP, HEIC)
"""Types that only OCR reads."""
ACCEPTED = (
    PDF,
    DOCX,
    PPTX,
    XLSX,
    ODT,
    ODS,
    ODP,
    EPUB,
    DOC,
    XLS,
    PPT,
    MSG,
    RTF,
    HTML,
    MARKDOWN,
    TEXT,
    CSV,
    TSV,
    JSON,
    JSONL,
    XML,
    EML,
    SRT,
    VTT,
    *PICTURES,
)
PLAIN = frozenset({TEXT, MARKDOWN, CSV, TSV})
"""Types whose text is used unchanged once its encoding is known."""


def becomes_markdown(media_type: str) -> bool:
    """Returns whether the parsed text is Markdown: because of its own type, or because parsing turned its structure
    into it.
    """
    return media_type == MARKDOWN or media_type not in PLAIN


_NAMES = (
    "PDF, DOCX, PPTX, XLSX, ODT, ODS, ODP, EPUB, DOC, XLS, PPT, MSG, RTF, HTML, Markdown, text, CSV, TSV, JSON, JSONL, "
    "XML, EML, SRT, VTT, PNG, JPEG, WebP, TIFF, BMP, HEIC"
)
# Types that the bytes alone do not tell apart: they are text, and whoever sends them says which.
_TEXT_FAMILY = frozenset({HTML, MARKDOWN, TEXT, CSV, TSV, JSON, JSONL, XML, EML, SRT, VTT})
_ZIP_FAMILY = frozenset({DOCX, PPTX, XLSX, ODT, ODS, ODP, EPUB})
_ENCRYPTABLE = frozenset({DOCX, PPTX, XLSX})

_EXTENSIONS = {
    "pdf": PDF, "docx": DOCX, "docm": DOCX, "dotx": DOCX, "pptx": PPTX, "pptm": PPTX, "ppsx": PPTX, "xlsx": XLSX,
    "xlsm": XLSX, "odt": ODT, "ods": ODS, "odp": ODP, "epub": EPUB, "doc": DOC, "rtf": RTF, "html": HTML, "htm": HTML,
    "xhtml": HTML,
    "md": MARKDOWN, "markdown": MARKDOWN, "csv": CSV, "tsv": TSV, "json": JSON, "jsonl": JSONL, "ndjson": JSONL,
    "xml": XML, "eml": EML, "srt": SRT, "vtt": VTT, "txt": TEXT, "text": TEXT, "log": TEXT,
    "xls": XLS, "xlt": XLS, "ppt": PPT, "pps": PPT, "msg": MSG, "zip": ZIP,
    "gz": "application/gzip", "png": PNG, "jpg": JPEG, "jpeg": JPEG, "webp": WEBP, "tif": TIFF, "tiff": TIFF,
    "bmp": BMP, "heic": HEIC, "heif": HEIC, "gif": "image/gif",
}  # fmt: skip
_ALIASES = {
    "text/x-markdown": MARKDOWN, "application/xhtml+xml": HTML, "text/xml": XML, "text/rtf": RTF,
    "application/jsonl": JSONL, "application/x-jsonlines": JSONL, "application/jsonlines": JSONL, "text/json": JSON,
    "application/csv": CSV, "text/tsv": TSV, "application/x-pdf": PDF, "image/jpg": JPEG, "image/x-ms-bmp": BMP,
    "image/heif": HEIC, "application/srt": SRT, "text/srt": SRT, "application/x-zip-compressed": ZIP,
}  # fmt: skip
# Declarations that say nothing about the content. Browsers on Windows declare CSV files as Excel's.
_UNDECLARED = frozenset({"", "application/octet-stream", "binary/octet-stream", XLS})

_XLSB = "application/vnd.ms-excel.sheet.binary.macroEnabled.12"
_OTHER_PACKAGE = "application/vnd.openxmlformats-package"
_CONVERT_TO = {
    _XLSB: "XLSX", "application/vnd.oasis.opendocument.graphics": "PDF", _OTHER_PACKAGE: "PDF",
    "application/x-ole-storage": "PDF",
}  # fmt: skip
"""Formats to convert known but unsupported types to."""

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", PNG), (b"\xff\xd8\xff", JPEG), (b"GIF8", "image/gif"),
    (b"\x1f\x8b", "application/gzip"), (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/vnd.rar"), (b"\x7fELF", "application/x-executable"),
    (b"MZ\x90\0", "application/x-msdownload"), (b"SQLite format 3\0", "application/vnd.sqlite3"),
    (b"II*\0", TIFF), (b"MM\0*", TIFF),
)  # fmt: skip
_HEIF_BRANDS = (b"heic", b"heix", b"mif1", b"heim", b"heis", b"hevc")
_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def detect(data: bytes, *, filename: str | None = None, declared: str | None = None) -> str:
    """Returns the media type of `data`, one of ACCEPTED.

    The content decides. Among text formats, which look alike, the declared type decides, then the file's extension.
    Raises EmptyText (no bytes), UnsupportedMediaType, and MediaTypeMismatch if extension or declaration contradict the
    content.
    """
    if not data:
        raise EmptyText("The document is empty: it has zero bytes.")
    by_declaration, by_name = claimed(filename, declared)
    claims = [claim for claim in (by_declaration, by_name) if claim]
    found = _of_content(data, claims)
    if found not in ACCEPTED:
        advice = f" Save it as {other}." if (other := _CONVERT_TO.get(found)) else ""
        raise UnsupportedMediaType(
            f"The document is {found}, which is not read here.{advice} Accepted are {_NAMES}.",
            found=found,
            accepted=list(ACCEPTED),
        )
    for claim in claims:
        if not _compatible(claim, found):
            source = (
                f"declared as {claim}"
                if claim == by_declaration
                else f"named {PurePath(filename or '').suffix.lower()}"
            )
            raise MediaTypeMismatch(
                f"The document is {source}, but its content is {found}. Correct the name or the type.",
                found=found,
                claimed=claim,
            )
    return found


def claimed(filename: str | None, declared: str | None) -> tuple[str | None, str | None]:
    """Media types that the declaration and the file's name stand for; None for what says nothing."""
    extension = PurePath(filename).suffix[1:].lower() if filename else ""
    stated = (declared or "").partition(";")[0].strip().lower()
    return None if stated in _UNDECLARED else _ALIASES.get(stated, stated), _EXTENSIONS.get(extension)


def is_archive(data: bytes, *, filename: str | None = None, declared: str | None = None) -> bool:
    """Whether it is a ZIP file of files, not a document of a format that is packed so."""
    claims = [claim for claim in claimed(filename, declared) if claim]
    named = PurePath(filename or "").suffix.lower() in ("", ".zip")
    return data.startswith(_ZIP_STARTS) and named and set(claims) <= {ZIP} and _of_zip(data, claims) == ZIP


def _compatible(claim: str, found: str) -> bool:
    if claim == found or (found in _ZIP_FAMILY and claim == ZIP):
        return True
    if found in _TEXT_FAMILY:
        return claim in _TEXT_FAMILY or (claim not in ACCEPTED and claim.startswith("text/"))
    # Word has always written RTF under the name .doc, and RTF is sent as text.
    return found == RTF and claim in (DOC, TEXT)


def _of_content(data: bytes, claims: list[str]) -> str:
    if data[:1024].lstrip().startswith(b"%PDF-") or (b"%PDF-" in data[:1024] and b"%%EOF" in data[-2048:]):
        return PDF
    if data.startswith(_ZIP_STARTS):
        return _of_zip(data, claims)
    if data.startswith(OLE):
        return _of_ole(data, claims)
    if data.lstrip()[:5] == b"{\\rtf":
        return RTF
    for magic, media_type in _MAGIC:
        if data.startswith(magic):
            return media_type
    if data[:4] == b"RIFF":
        return WEBP if data[8:12] == b"WEBP" else "audio/wav"
    if data[4:8] == b"ftyp":
        return HEIC if data[8:12] in _HEIF_BRANDS else "video/mp4"
    if data[:2] == b"BM" and data[6:10] == bytes(4) and len(data) > 54:
        return BMP
    return _of_text(data, claims)


def _of_text(data: bytes, claims: list[str]) -> str:
    head = data[:65536]
    text = decode_unicode(head)
    if not (_is_legacy(head) if text is None else is_readable(text)):
        return "application/octet-stream"
    for claim in claims:
        if claim in _TEXT_FAMILY and claim != TEXT:
            return claim
    start = (text or head.decode("latin-1")).lstrip("\ufeff \t\r\n")[:256].lower()
    if TEXT not in claims and start.startswith(("<!doctype html", "<html", "<head", "<body")):
        return HTML
    if TEXT not in claims and start.startswith("webvtt"):
        return VTT
    return TEXT


def _is_legacy(head: bytes) -> bool:
    """Returns whether bytes that are not Unicode may be text of an older encoding: none of those uses the control
    bytes.
    """
    return not any(byte < 0x20 and byte not in b"\t\n\r\f\x1a\x1b" for byte in head[:8192])


def _of_zip(data: bytes, claims: list[str]) -> str:
    names = _zip_names(data)
    if names is None:
        # Damaged: the parser will say so where the sender says what it was meant to be.
        return next((claim for claim in claims if claim in _ZIP_FAMILY), ZIP)
    for part, media_type in (("word/document.xml", DOCX), ("ppt/presentation.xml", PPTX), ("xl/workbook.xml", XLSX)):
        if part in names:
            return media_type
    if data[30:38] == b"mimetype":
        declared = data[38:120]
        for media_type in (EPUB, ODT, ODS, ODP):
            if declared.startswith(media_type.encode()):
                return media_type
        if declared.startswith(b"application/vnd.oasis.opendocument."):
            return declared.partition(b"PK")[0].decode("ascii", errors="replace")
    if "META-INF/container.xml" in names:
        return EPUB
    if "[Content_Types].xml" in names:
        return _XLSB if "xl/workbook.bin" in names else _OTHER_PACKAGE
    return ZIP


def _zip_names(data: bytes, limit: int = 10_000) -> set[str] | None:
    """Returns the names in the archive's directory, at most `limit` of them; None if the directory is incomplete.

    Parses the directory itself, since zipfile builds an object for each of the millions of entries that a hostile file
    may have.
    """
    end = data.rfind(b"PK\x05\x06", max(0, len(data) - 65_557))
    if end < 0 or end + 22 > len(data):
        return None
    entries, size, offset = struct.unpack_from("<HII", data, end + 10)
    if offset + size > end:
        return None
    names: set[str] = set()
    position = offset
    for _ in range(min(entries, limit)):
        if data[position : position + 4] != b"PK\x01\x02" or position + 46 > end:
            return None
        name, extra, comment = struct.unpack_from("<HHH", data, position + 28)
        names.add(data[position + 46 : position + 46 + name].decode("utf-8", errors="replace"))
        position += 46 + name + extra + comment
    return names


def _of_ole(data: bytes, claims: list[str]) -> str:
    """Returns the type of an OLE container by the names of its streams, which are UTF-16."""

    def holds(stream: str) -> bool:
        return stream.encode("utf-16-le") in data

    if holds("EncryptedPackage"):
        # An office file under a password. The parser says so; here it counts as what it was before.
        return next((claim for claim in claims if claim in _ENCRYPTABLE), DOCX)
    if holds("WordDocument"):
        return DOC
    if holds("PowerPoint Document"):
        return PPT
    if holds("__properties_version1.0"):
        return MSG
    if holds("Workbook") or holds("Book"):
        return XLS
    return "application/x-ole-storage"
