"""Presentations as PowerPoint 97 to 2003 writes them (MS-PPT)."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from tests.support.files.ole import ole


@dataclass(frozen=True)
class OldSlide:
    title: str
    box: str
    """Text in its drawing."""
    notes: str = ""


def old_presentation(slides: Sequence[OldSlide], *, stale: OldSlide | None = None, encrypted: bool = False) -> bytes:
    """`stale`: an earlier version of the first slide, which the file still holds."""
    listed = notes_listed = b""
    objects: dict[int, bytes] = {}
    for number, slide in enumerate(slides):
        persist, id_ = 10 + 2 * number, 256 + number
        title = _text(0, slide.title) if slide.title.isascii() else _text(0, slide.title, wide=True)
        listed += _record(0x03F3, struct.pack("<IIiII", persist, 4, 2, id_, 0)) + title
        objects[persist] = _slide(slide.box)
        if slide.notes:
            notes_listed += _record(0x03F3, struct.pack("<IIiII", persist + 1, 4, 0, 500 + number, 0))
            atom = _record(0x03F1, struct.pack("<IHH", id_, 0, 0))
            objects[persist + 1] = _container(0x03F0, atom + _drawing(_text(2, slide.notes, wide=True) + _text(4, "*")))
    lists = _container(0x0FF0, listed) + _container(0x0FF0, notes_listed, instance=2)
    objects[1] = _container(0x03E8, _record(0x03E9, bytes(40)) + lists)
    stream = b""
    if stale:
        place = len(stream)
        stream += _slide(stale.box)
        stream += _record(0x1772, struct.pack("<II", 1 << 20 | 10, place))
    places = {}
    for number, content in objects.items():
        places[number] = len(stream)
        stream += content
    directory = b"".join(struct.pack("<II", 1 << 20 | number, place) for number, place in places.items())
    at = len(stream)
    stream += _record(0x1772, directory)
    stream += _record(0x0FF5, struct.pack("<IHBBIIIIHH", 256, 0, 0, 3, 0, at, 1, 99, 1, 0))
    user = _record(0x0FF6, struct.pack("<IIIHHBBH", 20, 0xF3D1C4DF if encrypted else 0xE391C05F, at, 0, 1012, 3, 0, 0))
    return ole({"PowerPoint Document": stream, "Current User": user})


def _slide(box: str) -> bytes:
    return _container(0x03EE, _record(0x03EF, bytes(24)) + _drawing(_text(4, box, wide=True)))


def _drawing(texts: bytes) -> bytes:
    return _container(0x040C, _container(0xF002, _container(0xF003, _container(0xF004, _container(0xF00D, texts)))))


def _text(kind: int, text: str, *, wide: bool = False) -> bytes:
    atom = _record(0x0FA0, text.encode("utf-16-le")) if wide else _record(0x0FA8, text.encode("latin-1"))
    return _record(0x0F9F, struct.pack("<I", kind)) + atom


def _container(kind: int, content: bytes, instance: int = 0) -> bytes:
    return struct.pack("<HHI", instance << 4 | 0xF, kind, len(content)) + content


def _record(kind: int, content: bytes) -> bytes:
    return struct.pack("<HHI", 0, kind, len(content)) + content
