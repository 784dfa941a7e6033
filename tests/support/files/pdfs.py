"""PDF files made by hand: any fonts, lines and forms, with nothing embedded."""

import zlib
from collections.abc import Mapping, Sequence

HELVETICA = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
BOLD = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold >>"


def chinese_font(encoding: str, ordering: str = "GB1") -> str:
    """A font that is named only; `encoding` is one of the predefined CMaps."""
    info = f"<< /Registry (Adobe) /Ordering ({ordering}) /Supplement 2 >>"
    descriptor = (
        "<< /Type /FontDescriptor /FontName /FangSong /Flags 6 /FontBBox [0 -200 1000 900] /ItalicAngle 0 "
        "/Ascent 900 /Descent -200 /CapHeight 700 /StemV 80 >>"
    )
    inner = (
        f"<< /Type /Font /Subtype /CIDFontType0 /BaseFont /FangSong /CIDSystemInfo {info} /DW 1000 "
        f"/FontDescriptor {descriptor} >>"
    )
    return f"<< /Type /Font /Subtype /Type0 /BaseFont /FangSong /Encoding /{encoding} /DescendantFonts [{inner}] >>"


def pdf(
    streams: Sequence[str | bytes],
    *,
    fonts: Mapping[str, str] | None = None,
    mapped: Mapping[str, str] | None = None,
    title: str = "",
    fields: Mapping[str, str] | None = None,
    page: str = "",
    picture: bytes | None = None,
) -> bytes:
    """One page for each content stream.

    `fonts`: objects by name (F1 is Helvetica, F2 bold). `mapped`: what the letters of a font F9 are, by letter.
    `fields`: values of text fields on the first page. `page`: further entries of each page. `picture`: gray bytes of
    8 x 8 pixels, drawn by `/P Do`.
    """
    objects: list[bytes] = [b"", b""]

    def add(body: bytes | str) -> int:
        objects.append(body if isinstance(body, bytes) else body.encode())
        return len(objects)

    def stream(head: str, data: bytes) -> int:
        packed = zlib.compress(data)
        start = f"<< {head} /Length {len(packed)} /Filter /FlateDecode >>\nstream\n".encode()
        return add(start + packed + b"\nendstream")

    named = {"F1": HELVETICA, "F2": BOLD, **(fonts or {})}
    if mapped:
        codes = "\n".join(f"<{ord(key):02x}> <{value.encode('utf-16-be').hex()}>" for key, value in mapped.items())
        cmap = f"1 begincodespacerange <00> <ff> endcodespacerange {len(mapped)} beginbfchar\n{codes}\nendbfchar"
        number = stream("", cmap.encode())
        named["F9"] = f"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode {number} 0 R >>"
    entries = " ".join(f"/{name} {add(font)} 0 R" for name, font in named.items())
    resources = f"/Font << {entries} >>"
    if picture is not None:
        shape = "/Type /XObject /Subtype /Image /Width 8 /Height 8 /ColorSpace /DeviceGray /BitsPerComponent 8"
        resources += f" /XObject << /P {stream(shape, picture)} 0 R >>"
    widgets = [
        add(
            f"<< /Type /Annot /Subtype /Widget /FT /Tx /T ({name}) /V ({value}) /Rect [72 {500 - 30 * index} 300 "
            f"{520 - 30 * index}] >>"
        )
        for index, (name, value) in enumerate((fields or {}).items())
    ]
    kids = []
    for index, content in enumerate(streams):
        body = stream("", content if isinstance(content, bytes) else content.encode("latin-1"))
        notes = f"/Annots [{' '.join(f'{number} 0 R' for number in widgets)}]" if widgets and not index else ""
        kids.append(
            add(
                f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << {resources} >> "
                f"/Contents {body} 0 R {notes} {page} >>"
            )
        )
    form = f"/AcroForm << /Fields [{' '.join(f'{number} 0 R' for number in widgets)}] >>" if widgets else ""
    objects[0] = f"<< /Type /Catalog /Pages 2 0 R {form} >>".encode()
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(f'{kid} 0 R' for kid in kids)}] /Count {len(kids)} >>".encode()
    info = add(f"<< /Title ({title}) >>")
    output = bytearray(b"%PDF-1.7\n")
    offsets = []
    for number, body_ in enumerate(objects, 1):
        offsets.append(len(output))
        output += f"{number} 0 obj\n".encode() + body_ + b"\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    start = len(output)
    output += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}".encode()
    output += f"trailer << /Size {len(objects) + 1} /Root 1 0 R /Info {info} 0 R >>\n".encode()
    return bytes(output + f"startxref\n{start}\n%%EOF".encode())


def text(x: float, y: float, words: str, *, size: float = 10, font: str = "F1") -> str:
    """One text object in Latin letters, from its lower left corner."""
    return f"BT /{font} {size} Tf {x} {y} Td ({words}) Tj ET\n"


def chinese(x: float, y: float, words: str, *, encoding: str = "utf-16-be", size: float = 12, font: str = "G") -> str:
    return f"BT /{font} {size} Tf {x} {y} Td <{words.encode(encoding).hex()}> Tj ET\n"


def line(x0: float, y0: float, x1: float, y1: float) -> str:
    return f"{x0} {y0} m {x1} {y1} l S\n"
