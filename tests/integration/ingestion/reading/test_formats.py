"""Every word of Office files, HTML, mail and JSON once and as it stands, read in the parser's child process."""

import io
import zipfile
from collections.abc import AsyncIterator
from email.message import EmailMessage

import pytest
import pytest_asyncio

from ingestion.errors import EncryptedDocument
from ingestion.parsers import detect as types
from ingestion.parsers.child_process import ParserLimits
from ingestion.parsers.process import ProcessParser
from ingestion.types import ReadingOptions
from tests.support.files.documents import archive, book, presentation, word_package
from tests.support.files.ole import message, ole
from tests.support.files.powerpoint97 import OldSlide, old_presentation

ODF = (
    'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" '
    'xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0"'
)


@pytest_asyncio.fixture(scope="module")
async def parser() -> AsyncIterator[ProcessParser]:
    parser = ProcessParser(ParserLimits(seconds=30, memory_bytes=2 * 2**30), processes=1)
    await parser.start()
    yield parser
    await parser.close()


def paragraph(runs: str) -> str:
    return f"<w:p>{runs}</w:p>"


def run(text: str) -> str:
    return f'<w:r><w:t xml:space="preserve">{text}</w:t></w:r>'


NOTES = word_package(
    paragraph(run("Fired twice.") + '<w:r><w:footnoteReference w:id="2"/></w:r>')
    + paragraph(run("Mixed cold.") + '<w:r><w:commentReference w:id="0"/></w:r>'),
    footnotes=f'<w:footnote w:id="2">{paragraph(run("First at 900 degrees."))}</w:footnote>',
    comments=f'<w:comment w:id="0" w:author="Lin">{paragraph(run("Since when?"))}</w:comment>',
)
MOVED = word_package(
    f'<w:p><w:moveFrom w:id="1">{run("The clause.")}</w:moveFrom></w:p>'
    f'<w:p><w:moveTo w:id="2">{run("The clause.")}</w:moveTo></w:p>'
)
NUMBERED = word_package(
    "".join(paragraph(f'<w:pPr><w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr></w:pPr>{run(text)}')
            for text in ("范围", "定义")),
    numbering='<w:abstractNum w:abstractNumId="7"><w:lvl w:ilvl="0"><w:start w:val="3"/>'
    '<w:numFmt w:val="chineseCounting"/><w:lvlText w:val="第%1条"/></w:lvl></w:abstractNum>'
    '<w:num w:numId="1"><w:abstractNumId w:val="7"/></w:num>',
)  # fmt: skip
BOXED = word_package(
    "<w:p><mc:AlternateContent><mc:Choice><w:r><w:drawing><wps:txbx><w:txbxContent>"
    + paragraph(run("In a box."))
    + "</w:txbxContent></wps:txbx></w:drawing></w:r></mc:Choice><mc:Fallback><w:r><w:pict><v:textbox><w:txbxContent>"
    + paragraph(run("In a box."))
    + "</w:txbxContent></v:textbox></w:pict></w:r></mc:Fallback></mc:AlternateContent></w:p>"
)
ODT = archive({
    "mimetype": types.ODT,
    "content.xml": f"<office:document-content {ODF}><office:body><office:text><text:p>one<text:tab/>two"
    '<text:s text:c="2"/><text:span>three</text:span></text:p><text:p><draw:frame><draw:text-box><text:p>In a frame.'
    "</text:p></draw:text-box></draw:frame></text:p></office:text></office:body></office:document-content>",
})  # fmt: skip
ODS = archive({
    "mimetype": types.ODS,
    "content.xml": f'<office:document-content {ODF} xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0">'
    '<office:body><office:spreadsheet><table:table table:name="Fees"><table:table-row><table:table-cell>'
    "<text:p>5 m</text:p></table:table-cell><table:table-cell><text:p>1,280 €</text:p></table:table-cell>"
    "</table:table-row></table:table></office:spreadsheet></office:body></office:document-content>",
})  # fmt: skip
ODP = archive({
    "mimetype": types.ODP,
    "content.xml": f"<office:document-content {ODF}><office:body><office:presentation><draw:page><draw:frame>"
    "<draw:text-box><text:p>On a slide.</text:p></draw:text-box></draw:frame></draw:page></office:presentation>"
    "</office:body></office:document-content>",
})  # fmt: skip


def slide(*paragraphs: str) -> bytes:
    return presentation(["".join(f"<a:p>{each}</a:p>" for each in paragraphs)])


@pytest.mark.parametrize(
    ("data", "media_type", "text"),
    [
        (
            NOTES,
            types.DOCX,
            "Fired twice.[^1]\n\n[^1]: First at 900 degrees.\n\nMixed cold.\n\nComment (Lin): Since when?",
        ),
        (MOVED, types.DOCX, "The clause."),
        (NUMBERED, types.DOCX, "第三条 范围\n第四条 定义"),
        (BOXED, types.DOCX, "In a box."),
        (
            word_package(paragraph(run(r"F# code: a &lt; b, C:\temp, 3. item, `x`, ~~y~~"))),
            types.DOCX,
            r"F# code: a < b, C:\temp, 3. item, `x`, ~~y~~",
        ),
        (word_package(paragraph(run("Body.")), header=paragraph(run("QX-12 A"))), types.DOCX, "Body.\n\nQX-12 A"),
        (word_package("", header=paragraph(run("Only above."))), types.DOCX, "Only above."),
        (ODT, types.ODT, "one\ttwo  three\n\nIn a frame."),
        (ODS, types.ODS, "## Fees\n\n| 5 m | 1,280 € |\n| --- | --- |"),
        (ODP, types.ODP, "On a slide."),
        (
            slide("<a:r><a:t>press</a:t></a:r><a:r><a:rPr b='1'/><a:t>ure 12</a:t></a:r><a:r><a:t>8元</a:t></a:r>"),
            types.PPTX,
            "pressure 128元",
        ),
        (
            slide(*(f"<a:r><a:t>{text}</a:t></a:r>" for text in ("7. By hand", "2031. A year"))),
            types.PPTX,
            "7. By hand\n2031. A year",
        ),
        (slide("<a:r><a:rPr u='sng'/><a:t>Under a line</a:t></a:r>"), types.PPTX, "Under a line"),
        (b"<form action=x><h1>Fees</h1><p>A night costs 47.</p><select><option>A</select></form>", types.HTML,
         "# Fees\n\nA night costs 47."),
        (b"<p>10<sup>6</sup> l, m<sup>2</sup>, 1<sup>st</sup>, cited<sup>&#91;7]</sup></p>", types.HTML,
         "10^6 l, m^2, 1st, cited[7]"),
        (b'{"a": "<p>x&y</p>", "n": 12345678901234567890, "f": 1.50, "l": [1, {"d": null}]}', types.JSON,
         "a: <p>x&y</p>\nn: 12345678901234567890\nf: 1.50\nl:\n  - 1\n  - d: null"),
        (old_presentation([OldSlide("Kilns", "第一")]), types.PPT, "# Kilns\n\n第一"),
        (ole(message({"0037": "Offer", "1013": b"<p>See <b>below</b></p>"})), types.MSG,
         "Subject: Offer\n\nSee **below**"),
        (rb"{\rtf1\ansi\ansicpg936{\fonttbl{\f0\fcharset134 SimSun;}}\f0 \'b2\'fa\'c6\'b7 12\~kg m{\super 2}\par}",
         types.RTF, "产品 12\xa0kg m^2"),
        ('{"q": "问", "a": "甲 <b>"}\n{"q": "二"}'.encode(), types.JSONL, "q: 问\na: 甲 <b>\n\nq: 二"),
    ],
)  # fmt: skip
async def test_every_word_once_and_as_it_stands(parser: ProcessParser, data: bytes, media_type: str, text: str) -> None:
    assert (await parser.parse(data, media_type)).text == text


PAGE = (
    b"<html><body><header><a href='/'>Home</a></header><nav><ul><li>Menu</li></ul></nav><div id='cookies'>Cookies</div>"
    b"<main><article><header><h1>Kilns</h1></header><p>A kiln is hot.</p></article></main><footer>Imprint</footer>"
)


async def test_menus_and_notices_are_dropped_only_where_asked(parser: ProcessParser) -> None:
    kept = (await parser.parse(PAGE, types.HTML)).text
    assert [word for word in ("Home", "Menu", "Cookies", "Kilns", "hot", "Imprint") if word not in kept] == []
    assert (
        await parser.parse(PAGE, types.HTML, options=ReadingOptions(boilerplate="drop"))
    ).text == "# Kilns\n\nA kiln is hot."


async def test_a_book_with_copy_protection_is_told(parser: ProcessParser) -> None:
    def protected(method: str) -> bytes:
        encryption = f"<encryption><EncryptedData><EncryptionMethod Algorithm='{method}'/></EncryptedData></encryption>"
        return archive({**members(book(["Text."], title="Novel")), "META-INF/encryption.xml": encryption})

    assert "Text." in (await parser.parse(protected("http://www.idpf.org/2008/embedding"), types.EPUB)).text
    with pytest.raises(EncryptedDocument, match="copying"):
        await parser.parse(protected("http://www.w3.org/2001/04/xmlenc#aes128-cbc"), types.EPUB)


def members(data: bytes) -> dict[str, str | bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as package:
        return {name: package.read(name) for name in package.namelist()}


async def test_lines_that_are_no_json_are_kept_and_reported(parser: ProcessParser) -> None:
    document = await parser.parse(b'{"a": 1}\n{"a": 2\n', types.JSONL)
    assert document.text == 'a: 1\n\n{"a": 2'
    assert document.report.warnings == ("No valid JSON, read as plain text: line 2.",)


async def test_mail_has_its_subject_as_title_and_names_its_attachments(parser: ProcessParser) -> None:
    message = EmailMessage()
    message["Subject"], message["From"] = "报价 12", "lin@example.org"
    message.set_content("请看附件。", charset="gb2312")
    message.add_attachment(b"%PDF-", maintype="application", subtype="pdf", filename="报价.pdf")
    document = await parser.parse(message.as_bytes(), types.EML)
    assert document.title == "报价 12"
    assert document.text == "Subject: 报价 12\nFrom: lin@example.org\nAttachments: 报价.pdf\n\n请看附件。"
    assert document.report.warnings == ()


async def test_subtitles_are_read_in_the_child(parser: ProcessParser) -> None:
    document = await parser.parse("1\n00:00:01,000 --> 00:00:02,000\n你好\n".encode("gb18030"), types.SRT)
    assert document.text == "[00:00:01] 你好"


def protected_doc() -> bytes:
    """The beginning of a Word 97 file whose header says that it is encrypted."""
    fib = b"\xec\xa5\xc1\0" + bytes(7) + b"\x01" + bytes(500)
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504) + fib + "WordDocument".encode("utf-16-le") + bytes(488)


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (protected_doc(), types.DOC),
        (old_presentation([OldSlide("a", "b")], encrypted=True), types.PPT),
        (
            archive({
                "mimetype": types.ODT,
                "META-INF/manifest.xml": "<manifest><file-entry><encryption-data/></file-entry></manifest>",
                "content.xml": b"\x8f\x02\x11",
            }),
            types.ODT,
        ),
    ],
)  # fmt: skip
async def test_a_password_is_not_damage(parser: ProcessParser, data: bytes, media_type: str) -> None:
    with pytest.raises(EncryptedDocument):
        await parser.parse(data, media_type)
