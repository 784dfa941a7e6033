"""Small documents of every type, built by hand, so that tests need no files."""

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence

import docx

_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OPENXML = "application/vnd.openxmlformats-officedocument"


def archive(parts: Mapping[str, str | bytes]) -> bytes:
    """A zip file; a part named `mimetype` is stored, as ODF and EPUB ask for."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as package:
        for name, content in parts.items():
            package.writestr(name, content, zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def pdf(pages: Sequence[str], *, title: str = "") -> bytes:
    """A PDF with the lines of each text on one page, in Latin letters."""
    streams = []
    for text in pages:
        lines = " T* ".join(f"({line}) Tj" for line in text.split("\n"))
        streams.append(f"BT /F1 12 Tf 14 TL 72 720 Td {lines} ET".encode("latin-1"))
    return pdf_of_streams(streams, title=title)


def pdf_of_streams(streams: Sequence[bytes], *, title: str = "") -> bytes:
    """A PDF with one page for each content stream."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(streams)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(streams)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, stream in enumerate(streams):
        page = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >>"
        objects.append(f"{page} /Contents {5 + 2 * number} 0 R >>".encode())
        packed = zlib.compress(stream)
        head = f"<< /Length {len(packed)} /Filter /FlateDecode >>\nstream\n".encode()
        objects.append(head + packed + b"\nendstream")
    objects.append(f"<< /Title ({title}) >>".encode())
    output = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(output))
        output += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    table = len(output)
    entries = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    trailer = f"trailer << /Size {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R >>"
    output += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{entries}{trailer}\n".encode()
    return bytes(output + f"startxref\n{table}\n%%EOF".encode())


def word(paragraphs: Sequence[str], *, heading: str = "", title: str = "") -> bytes:
    document = docx.Document()
    document.core_properties.title = title
    if heading:
        document.add_heading(heading, level=1)
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def slides(texts: Sequence[str]) -> bytes:
    """A presentation with one text box on each slide."""
    return presentation([f"<a:p><a:r><a:t>{text}</a:t></a:r></a:p>" for text in texts])


def presentation(texts: Sequence[str]) -> bytes:
    """The same of raw XML: the paragraphs of each text box."""
    kind = f"{_OPENXML}.presentationml"
    numbers = range(1, len(texts) + 1)
    namespaces = (
        'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
        f'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" xmlns:r="{_OFFICE}"'
    )
    ids = "".join(f'<p:sldId id="{255 + number}" r:id="rId{number}"/>' for number in numbers)
    parts = {
        "[Content_Types].xml": _content_types(
            {"ppt/presentation.xml": f"{kind}.presentation.main+xml"}
            | {f"ppt/slides/slide{number}.xml": f"{kind}.slide+xml" for number in numbers}
        ),
        "_rels/.rels": _relations({"rId1": ("officeDocument", "ppt/presentation.xml")}),
        "ppt/presentation.xml": f"{_XML}<p:presentation {namespaces}><p:sldIdLst>{ids}</p:sldIdLst></p:presentation>",
        "ppt/_rels/presentation.xml.rels": _relations(
            {f"rId{number}": ("slide", f"slides/slide{number}.xml") for number in numbers}
        ),
    }
    for number, text in zip(numbers, texts, strict=True):
        shape = (
            '<p:sp><p:nvSpPr><p:cNvPr id="2" name="Text"/><p:cNvSpPr/><p:nvPr/></p:nvSpPr><p:spPr/>'
            f"<p:txBody><a:bodyPr/>{text}</p:txBody></p:sp>"
        )
        tree = f"<p:spTree><p:nvGrpSpPr/><p:grpSpPr/>{shape}</p:spTree>"
        parts[f"ppt/slides/slide{number}.xml"] = f"{_XML}<p:sld {namespaces}><p:cSld>{tree}</p:cSld></p:sld>"
    return archive(parts)


def workbook(sheets: Mapping[str, Sequence[Sequence[str]]]) -> bytes:
    kind = f"{_OPENXML}.spreadsheetml"
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    entries = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="rId{n}"/>' for n, name in enumerate(sheets, 1))
    parts = {
        "[Content_Types].xml": _content_types(
            {"xl/workbook.xml": f"{kind}.sheet.main+xml"}
            | {f"xl/worksheets/sheet{n}.xml": f"{kind}.worksheet+xml" for n in range(1, len(sheets) + 1)}
        ),
        "_rels/.rels": _relations({"rId1": ("officeDocument", "xl/workbook.xml")}),
        "xl/workbook.xml": (
            f'{_XML}<workbook xmlns="{main}" xmlns:r="{_OFFICE}"><sheets>{entries}</sheets></workbook>'
        ),
        "xl/_rels/workbook.xml.rels": _relations(
            {f"rId{n}": ("worksheet", f"worksheets/sheet{n}.xml") for n in range(1, len(sheets) + 1)}
        ),
    }
    for number, rows in enumerate(sheets.values(), 1):
        cells = "".join(
            f'<row r="{r}">'
            + "".join(
                f'<c r="{chr(64 + c)}{r}" t="inlineStr"><is><t>{value}</t></is></c>' for c, value in enumerate(row, 1)
            )
            + "</row>"
            for r, row in enumerate(rows, 1)
        )
        parts[f"xl/worksheets/sheet{number}.xml"] = (
            f'{_XML}<worksheet xmlns="{main}"><sheetData>{cells}</sheetData></worksheet>'
        )
    return archive(parts)


def book(chapters: Sequence[str], *, title: str) -> bytes:
    """An EPUB with a heading and a paragraph in each chapter."""
    names = [f"chapter{number}.xhtml" for number in range(1, len(chapters) + 1)]
    items = "".join(f'<item id="{name}" href="{name}" media-type="application/xhtml+xml"/>' for name in names)
    spine = "".join(f'<itemref idref="{name}"/>' for name in names)
    metadata = f'<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{title}</dc:title></metadata>'
    container = (
        '<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
    )
    package = (
        f'<package xmlns="http://www.idpf.org/2007/opf" version="3.0">{metadata}'
        f"<manifest>{items}</manifest><spine>{spine}</spine></package>"
    )
    parts = {"mimetype": "application/epub+zip", "META-INF/container.xml": _XML + container, "book.opf": _XML + package}
    for name, text in zip(names, chapters, strict=True):
        body = f"<h1>{name}</h1><p>{text}</p>"
        parts[name] = f'{_XML}<html xmlns="http://www.w3.org/1999/xhtml"><body>{body}</body></html>'
    return archive(parts)


def protected_office() -> bytes:
    """The beginning of an office file under a password: an OLE container with an EncryptedPackage stream."""
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504) + "EncryptedPackage".encode("utf-16-le") + bytes(480)


def _content_types(overrides: Mapping[str, str]) -> str:
    parts = "".join(f'<Override PartName="/{name}" ContentType="{kind}"/>' for name, kind in overrides.items())
    default = '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    return f'{_XML}<Types xmlns="{_PACKAGE}/content-types">{default}{parts}</Types>'


def _relations(targets: Mapping[str, tuple[str, str]]) -> str:
    entries = "".join(
        f'<Relationship Id="{key}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for key, (kind, target) in targets.items()
    )
    return f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">{entries}</Relationships>'


def word_package(body: str, **parts: str) -> bytes:
    """A Word file of raw XML: the body, and footnotes, comments, numbering or a header by name."""
    namespaces = (
        'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
        f'xmlns:r="{_OFFICE}" xmlns:v="urn:schemas-microsoft-com:vml" '
        'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
        'xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape"'
    )
    kind = f"{_OPENXML}.wordprocessingml"
    roots = {"header": "hdr"}
    section = '<w:sectPr><w:headerReference w:type="default" r:id="header"/></w:sectPr>' if "header" in parts else ""
    files = {
        "[Content_Types].xml": _content_types(
            {"word/document.xml": f"{kind}.document.main+xml"}
            | {f"word/{name}.xml": f"{kind}.{name}+xml" for name in parts}
        ),
        "_rels/.rels": _relations({"rId1": ("officeDocument", "word/document.xml")}),
        "word/_rels/document.xml.rels": _relations({name: (name, f"{name}.xml") for name in parts}),
        "word/document.xml": f"{_XML}<w:document {namespaces}><w:body>{body}{section}</w:body></w:document>",
    }
    for name, content in parts.items():
        root = roots.get(name, name)
        files[f"word/{name}.xml"] = f"{_XML}<w:{root} {namespaces}>{content}</w:{root}>"
    return archive(files)


def spreadsheet(
    sheets: Mapping[str, str],
    *,
    strings: Sequence[str] = (),
    formats: Sequence[str] = (),
    comments: str = "",
    hidden: Sequence[str] = (),
    links: Mapping[str, str] | None = None,
) -> bytes:
    """A workbook of raw XML: what stands in each worksheet. Style n of a cell is the n-th of `formats`, from 1;
    `comments` and the `links` (addresses by relation) belong to the first sheet."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    states = ("visible", "hidden")
    entries = "".join(
        f'<sheet name="{name}" sheetId="{n}" r:id="rId{n}" state="{states[name in hidden]}"/>'
        for n, name in enumerate(sheets, 1)
    )
    codes = "".join(f'<numFmt numFmtId="{163 + n}" formatCode="{code}"/>' for n, code in enumerate(formats, 1))
    styles = "".join(f'<xf numFmtId="{163 + n}"/>' for n in range(1, len(formats) + 1))
    texts = "".join(f"<si>{text}</si>" for text in strings)
    parts = {
        "_rels/.rels": _relations({"rId1": ("officeDocument", "xl/workbook.xml")}),
        "xl/workbook.xml": (
            f'{_XML}<workbook xmlns="{main}" xmlns:r="{_OFFICE}"><sheets>{entries}</sheets></workbook>'
        ),
        "xl/_rels/workbook.xml.rels": _relations(
            {f"rId{n}": ("worksheet", f"worksheets/sheet{n}.xml") for n in range(1, len(sheets) + 1)}
            | {"rId97": ("sharedStrings", "sharedStrings.xml"), "rId98": ("styles", "styles.xml")}
        ),
        "xl/sharedStrings.xml": f'{_XML}<sst xmlns="{main}">{texts}</sst>',
        "xl/styles.xml": (
            f'{_XML}<styleSheet xmlns="{main}"><numFmts>{codes}</numFmts><cellXfs><xf numFmtId="0"/>{styles}</cellXfs>'
            "</styleSheet>"
        ),
        "xl/worksheets/_rels/sheet1.xml.rels": _relations({"rId1": ("comments", "../comments1.xml")}).replace(
            "</Relationships>",
            "".join(
                f'<Relationship Id="{key}" Type="{_OFFICE}/hyperlink" Target="{target}" TargetMode="External"/>'
                for key, target in (links or {}).items()
            )
            + "</Relationships>",
        ),
        "xl/comments1.xml": f'{_XML}<comments xmlns="{main}">{comments}</comments>',
    }
    for number, content in enumerate(sheets.values(), 1):
        parts[f"xl/worksheets/sheet{number}.xml"] = (
            f'{_XML}<worksheet xmlns="{main}" xmlns:r="{_OFFICE}">{content}</worksheet>'
        )
    return archive(parts)
