"""An office document as a ZIP file of XML parts, each of which is read within limits."""

import codecs
import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from xml.etree import ElementTree

from ingestion.errors import EncryptedDocument, ParseFailed, ParseLimit

Element = ElementTree.Element

MAX_BYTES = 256 * 2**20
"""Limit of all parts that are read, unpacked."""
# Looked up here because the child cannot open files later, not even those of Python's codecs.
for _name in ("cp437", "utf-16", "utf-16-le", "utf-16-be"):
    codecs.lookup(_name)
_RELATIONS = re.compile(r"\{[^}]*officeDocument/(?:2006/)?relationships\}")

_OLE = b"\xd0\xcf\x11\xe0"
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")
_ENTITY = tuple("<!ENTITY".encode(encoding) for encoding in ("ascii", "utf-16-le", "utf-16-be"))


def is_encrypted_package(data: bytes) -> bool:
    """Returns whether the bytes are an Office file with a password, which is an OLE container instead of a ZIP file."""
    return data.startswith(_OLE) and _ENCRYPTED_PACKAGE in data


def small_number(text: str | None, default: int = 0) -> int:
    """Count or depth out of an attribute, which may hold anything: `default` for what is no number below 100,000."""
    return int(text) if text and text.isdecimal() and len(text) < 6 else default


@dataclass(frozen=True, slots=True)
class Relation:
    kind: str
    """The last part of its type: `footnotes`, `slide`, `hyperlink`."""
    target: str
    """Name of the part; of an external one its address."""
    external: bool


class Package:
    """An opened document. Raises EncryptedDocument and ParseFailed; reading beyond MAX_BYTES raises ParseLimit."""

    def __init__(self, data: bytes) -> None:
        if is_encrypted_package(data):
            raise EncryptedDocument()
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
            raise ParseFailed(f"The document is damaged: {str(error)[:200]}") from error
        self._members = {member.filename: member for member in self._archive.infolist()}
        if any(member.flag_bits & 1 for member in self._members.values()):
            raise EncryptedDocument()
        self._left = MAX_BYTES

    @property
    def names(self) -> list[str]:
        return list(self._members)

    def read(self, name: str) -> bytes | None:
        """Returns the bytes of a part, None if it does not exist."""
        member = self._members.get(name)
        if member is None:
            return None
        try:
            with self._archive.open(member) as part:
                data = part.read(self._left + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError) as error:
            raise ParseFailed(f"The document is damaged: its part {name[:100]} cannot be unpacked.") from error
        self._left -= len(data)
        if self._left < 0:
            raise ParseLimit(f"The document has more than {MAX_BYTES // 2**20} MiB unpacked. Split the document.")
        return data

    def xml(self, name: str) -> Element | None:
        """Returns the root of a part, with names without namespaces (`r:id` for those of relationships)."""
        data = self._markup(name)
        if data is None:
            return None
        try:
            root = ElementTree.fromstring(data)  # noqa: S314  (no entities)
        except (ElementTree.ParseError, ValueError, LookupError) as error:
            raise _no_xml(name) from error
        return _plain(root)

    def elements(self, name: str, *tags: str) -> Iterator[Element]:
        """Those elements of a part that are named so, in order, each as `xml` has it and emptied afterwards: for parts
        that are too large to be held as a tree. Nothing where there is no such part."""
        data = self._markup(name)
        if data is None:
            return
        try:
            for _, element in ElementTree.iterparse(io.BytesIO(data)):  # noqa: S314  (no entities)
                if _local(element.tag) in tags:
                    yield _plain(element)
                    element.clear()
        except (ElementTree.ParseError, ValueError, LookupError) as error:
            raise _no_xml(name) from error

    def _markup(self, name: str) -> bytes | None:
        data = self.read(name)
        if data is not None and any(mark in data for mark in _ENTITY):
            # No office program writes one: it is a bomb, or is meant to have the reader fetch something.
            raise ParseFailed(f"The document is refused: its part {name[:100]} declares entities. Save it again.")
        return data

    def relations(self, name: str) -> Mapping[str, Relation]:
        """Returns the relationships of the part by id; the empty name stands for the package."""
        folder, base = posixpath.split(name)
        root = self.xml(posixpath.join(folder, "_rels", f"{base}.rels"))
        found: dict[str, Relation] = {}
        for each in root if root is not None else ():
            external = each.get("TargetMode") == "External"
            target = each.get("Target", "")
            if not external:
                target = posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")
            found[each.get("Id", "")] = Relation(each.get("Type", "").rpartition("/")[2], target, external)
        return found

    def related(self, name: str, kind: str) -> str | None:
        """Returns the name of the first part of this kind that `name` refers to."""
        return next((each.target for each in self.relations(name).values() if each.kind == kind), None)

    def title(self) -> str:
        core = self.xml(self.related("", "core-properties") or "docProps/core.xml")
        found = None if core is None else core.find("title")
        return "" if found is None else "".join(found.itertext()).strip()


def _plain(root: Element) -> Element:
    """Names without namespaces."""
    for element in root.iter():
        element.tag = _local(element.tag)
        attributes = element.attrib
        for key in attributes:
            if "}" in key:
                pairs = [(_attribute(key), value) for key, value in attributes.items()]
                attributes.clear()
                attributes.update(pairs)
                break
    return root


@lru_cache(maxsize=4096)
def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _no_xml(name: str) -> ParseFailed:
    return ParseFailed(f"The document is damaged: its part {name[:100]} is no XML.")


@lru_cache(maxsize=4096)
def _attribute(key: str) -> str:
    return _RELATIONS.sub("r:", key) if _RELATIONS.match(key) else _local(key)
