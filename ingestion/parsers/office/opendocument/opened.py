"""Opens an OpenDocument package."""

from ingestion.errors import EncryptedDocument
from ingestion.parsers.assembly import real_title
from ingestion.parsers.office.package import Package


def opened(data: bytes) -> Package:
    """Raises EncryptedDocument, ParseFailed, ParseLimit."""
    package = Package(data)
    manifest = package.xml("META-INF/manifest.xml")
    if manifest is not None and next(manifest.iter("encryption-data"), None) is not None:
        raise EncryptedDocument()
    return package


def title_of(package: Package) -> str:
    meta = package.xml("meta.xml")
    title = None if meta is None else meta.find("meta/title")
    return real_title("" if title is None else title.text or "")
