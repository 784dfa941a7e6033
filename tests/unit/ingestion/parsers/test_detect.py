import pytest

from ingestion.errors import MediaTypeMismatch, UnsupportedMediaType
from ingestion.parsers import detect as types
from ingestion.parsers.detect import detect
from retrieval.errors import EmptyText
from tests.support.files import documents

PDF = documents.pdf(["Some text."])
DOCX = documents.word(["Some text."])
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (PDF, types.PDF),
        (b"\n\n" + PDF, types.PDF),
        (DOCX, types.DOCX),
        (documents.slides(["a"]), types.PPTX),
        (documents.workbook({"Sheet": [["a"]]}), types.XLSX),
        (documents.book(["a"], title="t"), types.EPUB),
        (documents.archive({"mimetype": types.ODT, "content.xml": "<a/>"}), types.ODT),
        (documents.archive({"mimetype": types.ODS, "content.xml": "<a/>"}), types.ODS),
        (documents.archive({"mimetype": f"{types.ODP}-template", "content.xml": "<a/>"}), types.ODP),
        (b"{\\rtf1\\ansi text}", types.RTF),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "WordDocument".encode("utf-16-le"), types.DOC),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "Workbook".encode("utf-16-le"), types.XLS),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "PowerPoint Document".encode("utf-16-le"), types.PPT),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "__properties_version1.0".encode("utf-16-le"), types.MSG),
        (b"WEBVTT\n\n00:01.000 --> 00:02.000\nx", types.VTT),
        (b"<!DOCTYPE html><html><body>x</body></html>", types.HTML),
        ("<html>文本</html>".encode("utf-16"), types.HTML),
        (b"Just words.", types.TEXT),
        ("只是文字。".encode(), types.TEXT),
        ("只是文字，没有别的。".encode("gb18030"), types.TEXT),
        ("繁體中文。".encode("big5"), types.TEXT),
        ("words, 文字".encode("utf-16-le"), types.TEXT),
        (b"The header %PDF-1.7 begins such files.", types.TEXT),
        (b"PK is short for Phil Katz.", types.TEXT),
    ],
)
def test_content_decides_without_a_name(data: bytes, expected: str) -> None:
    assert detect(data, filename=None, declared=None) == expected


@pytest.mark.parametrize(
    ("filename", "declared", "expected"),
    [
        ("notes.md", None, types.MARKDOWN),
        ("table.csv", None, types.CSV),
        ("table.csv", "application/vnd.ms-excel", types.CSV),
        ("table.csv", "text/plain", types.CSV),
        ("data.json", None, types.JSON),
        ("lines.jsonl", "application/octet-stream", types.JSONL),
        ("mail.eml", None, types.EML),
        ("page.txt", "text/markdown; charset=utf-8", types.MARKDOWN),
        ("server.log", None, types.TEXT),
        ("main.py", None, types.TEXT),
        (None, "text/x-python", types.TEXT),
        (None, "TEXT/HTML; charset=gb2312", types.HTML),
        ("README", "", types.TEXT),
    ],
)
def test_text_is_what_it_is_called(filename: str | None, declared: str | None, expected: str) -> None:
    assert detect(b"a, b\n1, 2\n", filename=filename, declared=declared) == expected


def test_markup_that_is_declared_as_text_stays_text() -> None:
    assert detect(b"<html>an example of markup", filename="example.txt", declared=None) == types.TEXT


@pytest.mark.parametrize(
    ("data", "filename", "declared"),
    [
        (DOCX, "report.pdf", None),
        (DOCX, "report.docx", "application/pdf"),
        (DOCX, "report.txt", None),
        (PDF, "report.docx", None),
        (PDF, None, "text/plain"),
        (b"only text", "report.docx", None),
        (b"only text", None, "image/png"),
        (PNG, "a.jpg", None),
        (b"only text", "a.zip", None),
    ],
)
def test_a_name_or_type_that_contradicts_the_content_is_refused(
    data: bytes, filename: str | None, declared: str | None
) -> None:
    with pytest.raises(MediaTypeMismatch):
        detect(data, filename=filename, declared=declared)


@pytest.mark.parametrize(
    ("data", "filename", "declared", "expected"),
    [
        (DOCX, "macro.docm", "application/zip", types.DOCX),
        (b"{\\rtf1 text}", "old.doc", "application/msword", types.RTF),
        (b"{\\rtf1 text}", "old.rtf", "text/rtf", types.RTF),
        (PDF, "paper.pdf", "application/x-pdf", types.PDF),
        (documents.protected_office(), "secret.xlsx", None, types.XLSX),
        (documents.protected_office(), None, None, types.DOCX),
        (DOCX[: len(DOCX) // 2], "cut.docx", None, types.DOCX),
    ],
)
def test_usual_pairs_are_tolerated(data: bytes, filename: str | None, declared: str | None, expected: str) -> None:
    assert detect(data, filename=filename, declared=declared) == expected


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"GIF89a" + bytes(100), "image/gif"),
        (b"\0\0\0\x18ftypmp42" + bytes(100), "video/mp4"),
        (documents.archive({"a.txt": "text"}), "application/zip"),
        (documents.archive({"inner.docx": DOCX}), "application/zip"),
        (DOCX[: len(DOCX) // 2], "application/zip"),
        (b"\x00\x01\x02\x03" * 50, "application/octet-stream"),
        (bytes(range(256)), "application/octet-stream"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "Visio".encode("utf-16-le"), "application/x-ole-storage"),
    ],
)
def test_other_types_are_named_and_refused(data: bytes, found: str) -> None:
    with pytest.raises(UnsupportedMediaType) as caught:
        detect(data, filename=None, declared=None)
    assert found in caught.value.message
    assert "PDF" in caught.value.message
    assert caught.value.detail["found"] == found


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        (documents.archive({"[Content_Types].xml": "<a/>", "xl/workbook.bin": "x"}), "Save it as XLSX."),
        (documents.archive({"mimetype": "application/vnd.oasis.opendocument.graphics"}), "Save it as PDF."),
        (documents.archive({"[Content_Types].xml": "<a/>", "visio/document.xml": "<a/>"}), "Save it as PDF."),
    ],
)
def test_a_refusal_names_what_to_convert_to(data: bytes, advice: str) -> None:
    with pytest.raises(UnsupportedMediaType, match=advice):
        detect(data)


def test_an_archive_that_claims_millions_of_entries_is_refused() -> None:
    directory = b"PK\x05\x06" + b"\0" * 4 + b"\xff\xff\xff\xff" + b"\xff" * 8 + b"\0\0"
    with pytest.raises(UnsupportedMediaType):
        detect(b"PK\x03\x04" + bytes(100) + directory, filename=None, declared=None)


def test_zero_bytes_are_empty() -> None:
    with pytest.raises(EmptyText):
        detect(b"", filename="a.pdf", declared="application/pdf")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (PNG, types.PNG),
        (b"\xff\xd8\xff\xe0" + bytes(100), types.JPEG),
        (b"RIFF\0\0\0\0WEBPVP8 " + bytes(100), types.WEBP),
        (b"II*\0" + bytes(100), types.TIFF),
        (b"MM\0*" + bytes(100), types.TIFF),
        (b"BM\x9a\0\0\0" + bytes(100), types.BMP),
        (b"\0\0\0\x18ftypheic" + bytes(100), types.HEIC),
        (b"\0\0\0\x18ftypmif1" + bytes(100), types.HEIC),
    ],
)
def test_pictures(data: bytes, expected: str) -> None:
    assert detect(data, filename=None, declared=None) == expected
    assert expected in types.PICTURES
