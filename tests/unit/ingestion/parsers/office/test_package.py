import pytest

from ingestion.errors import ParseFailed
from ingestion.parsers.office.package import Package
from tests.support.files.documents import archive


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("entity", ['x SYSTEM "file:///etc/hostname"', 'x "a word"'])
def test_a_part_that_declares_entities_is_refused(entity: str, encoding: str) -> None:
    part = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE d [<!ENTITY {entity}>]><d>before &x; after</d>'
    with pytest.raises(ParseFailed, match=r"part word/document\.xml declares entities"):
        Package(archive({"word/document.xml": part.encode(encoding)})).xml("word/document.xml")


def test_a_document_type_without_entities_is_read() -> None:
    part = (
        '<!DOCTYPE manifest PUBLIC "-//OpenOffice.org//DTD Manifest 1.0//EN" "Manifest.dtd"><manifest>text</manifest>'
    )
    root = Package(archive({"META-INF/manifest.xml": part})).xml("META-INF/manifest.xml")
    assert root is not None
    assert root.text == "text"
