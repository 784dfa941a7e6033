"""PPT: slides of PowerPoint 97 to 2003, with text boxes, tables and notes (MS-PPT).

The stream is a tree of records. What a slide shows stands in two places: text of placeholders in the document's list of
slides, everything else in the slide's own drawing. Saved again, a file keeps old records behind it: which ones count,
the directories of objects say, the last one for each.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import olefile

from ingestion.errors import EncryptedDocument, ParseFailed
from ingestion.parsers.assembly import Extraction, assemble
from ingestion.parsers.mail.outlook import DAMAGE, opened

_DOCUMENT, _SLIDE, _NOTES, _NOTES_ATOM, _LIST, _PERSIST = 0x03E8, 0x03EE, 0x03F0, 0x03F1, 0x0FF0, 0x03F3
_EDIT, _DIRECTORY, _HEADER, _CHARS, _BYTES = 0x0FF5, 0x1772, 0x0F9F, 0x0FA0, 0x0FA8
_TITLES = frozenset({0, 6})
_SLIDES_LIST, _NOTES_LIST = 0, 2
_MAX_DEPTH = 20
_ENCRYPTED = b"\xdf\xc4\xd1\xf3"
# What stands for the number, the date and the footer of a slide.
_FIELDS = frozenset({"*", ""})


@dataclass(frozen=True, slots=True)
class _Record:
    kind: int
    instance: int
    is_container: bool
    start: int
    """Start of its content."""
    end: int


@dataclass(slots=True)
class _Listed:
    persist: int
    id: int
    texts: list[tuple[int, str]] = field(default_factory=list)
    """Kind of the placeholder, and its text."""


def read_old_slides(data: bytes) -> Extraction:
    """Raises EncryptedDocument, NoText, ParseFailed."""
    try:
        with opened(data) as ole:
            if ole.exists("Current User") and _ENCRYPTED in ole.openstream("Current User").read(64):
                raise EncryptedDocument()
            stream = ole.openstream("PowerPoint Document").read()
            title = _title(ole)
        texts = _Presentation(stream).slides()
    except DAMAGE as error:
        raise ParseFailed(f"The document is damaged: {str(error)[:200]}") from error
    return assemble(texts, title, range(1, len(texts) + 1))


class _Presentation:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._places: dict[int, int] = {}
        """Start of each object, by its number."""
        document = 0
        for record in self._records(0, len(data)):
            if record.kind == _DIRECTORY:
                self._add_places(record)
            elif record.kind == _EDIT:
                document = struct.unpack_from("<I", data, record.start + 16)[0]
        self._document = self._object(document, _DOCUMENT)

    def slides(self) -> list[str]:
        if self._document is None:
            raise ValueError("it has no document")
        lists = {record.instance: record for record in self._children(self._document) if record.kind == _LIST}
        notes = dict(self._notes(lists.get(_NOTES_LIST)))
        found = []
        for listed in self._listed(lists.get(_SLIDES_LIST)):
            slide = self._object(listed.persist, _SLIDE)
            texts = [*listed.texts, *(self._texts(slide) if slide else ())]
            blocks = [f"# {' '.join(text.split())}" if kind in _TITLES else text for kind, text in texts]
            found.append("\n\n".join([*blocks, *notes.get(listed.id, ())]))
        return found

    def _notes(self, record: _Record | None) -> Iterator[tuple[int, list[str]]]:
        for listed in self._listed(record):
            notes = self._object(listed.persist, _NOTES)
            if notes:
                atom = next((each for each in self._children(notes) if each.kind == _NOTES_ATOM), None)
                if atom:
                    yield struct.unpack_from("<I", self._data, atom.start)[0], [text for _, text in self._texts(notes)]

    def _listed(self, record: _Record | None) -> Iterator[_Listed]:
        listed: _Listed | None = None
        kind = -1
        for child in self._children(record) if record else ():
            if child.kind == _PERSIST:
                if listed:
                    yield listed
                persist, _, _, id_ = struct.unpack_from("<IIiI", self._data, child.start)
                listed = _Listed(persist, id_)
            elif child.kind == _HEADER:
                kind = struct.unpack_from("<I", self._data, child.start)[0]
            elif listed and (text := self._text(child)) not in _FIELDS:
                listed.texts.append((kind, text))
        if listed:
            yield listed

    def _texts(self, record: _Record, depth: int = 0) -> Iterator[tuple[int, str]]:
        kind = -1
        for child in self._children(record):
            if child.is_container and depth < _MAX_DEPTH:
                yield from self._texts(child, depth + 1)
            elif child.kind == _HEADER:
                kind = struct.unpack_from("<I", self._data, child.start)[0]
            elif (text := self._text(child)) not in _FIELDS:
                yield kind, text

    def _text(self, record: _Record) -> str:
        if record.kind not in (_CHARS, _BYTES):
            return ""
        raw = self._data[record.start : record.end]
        text = raw.decode("utf-16-le", "replace") if record.kind == _CHARS else raw.decode("latin-1")
        return text.replace("\r", "\n").replace("\x0b", "\n").strip()

    def _add_places(self, record: _Record) -> None:
        at = record.start
        while at + 4 <= record.end:
            head = struct.unpack_from("<I", self._data, at)[0]
            first, count = head & 0xFFFFF, head >> 20
            at += 4
            for number in range(min(count, (record.end - at) // 4)):
                self._places[first + number] = struct.unpack_from("<I", self._data, at + 4 * number)[0]
            at += 4 * count

    def _object(self, number: int, kind: int) -> _Record | None:
        place = self._places.get(number)
        found = None if place is None else next(self._records(place, len(self._data)), None)
        return found if found and found.kind == kind else None

    def _children(self, record: _Record) -> Iterator[_Record]:
        return self._records(record.start, record.end)

    def _records(self, start: int, end: int) -> Iterator[_Record]:
        while start + 8 <= end:
            head, kind, length = struct.unpack_from("<HHI", self._data, start)
            content = start + 8
            yield _Record(kind, head >> 4, head & 0xF == 0xF, content, min(content + length, end))
            start = content + length


def _title(ole: olefile.OleFileIO) -> str:
    title = ole.get_metadata().title
    return title.decode("utf-8", "replace") if isinstance(title, bytes) else ""
