"""Files that are uploaded first and added to collections later, as OpenAI's clients do it.

An upload has no row of its own: its id encodes its metadata, and its bytes are an original like any other.
The id is signed for whoever uploaded: the hash of bytes must not give them to everybody who knows it. `tandem
audit --repair` removes uploads that no document refers to within an hour. A table of uploads would be a second record
of documents with a lifetime of its own; clients add a file to a store as soon as it is uploaded.
"""

import asyncio
import hmac
import unicodedata
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256

from ingestion.blobs.gc import BlobCollector
from ingestion.collections.names import is_internal
from ingestion.errors import DocumentNotFound, TooLarge
from ingestion.parsers.detect import detect
from ingestion.ports import BlobStore, Catalog
from ingestion.selection import EVERY, READ_DOCUMENTS, Patience, Selection, selected
from ingestion.service import IngestionService
from ingestion.types import Collection, DocumentRecord, Upload
from retrieval.errors import EmptyText, InvalidRequest, InvalidText
from retrieval.types import DocumentId

PREFIX = "file-"
MAX_NAME_BYTES = 300
"""Limit that keeps an id within the limit of a document's id."""
MAX_BATCH_BYTES = 256 * 2**20
"""Largest total size of the files added to a collection at once: they are in memory together."""
TIME_BYTES, HASH_BYTES, MAC_BYTES = 4, 32, 16
FILE_KEY = "files"
"""Name of the secret in the catalog that ids are signed with."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An upload, or a document seen as a file."""

    id: str
    filename: str
    sha256: str
    created_at: datetime
    size: int
    media_type: str | None = None
    """Media type of a document; that of an upload is detected again."""


@dataclass(frozen=True, slots=True)
class Attached:
    """What a file gets when it is added to a collection."""

    metadata: Mapping[str, object] = field(default_factory=dict)
    groups: Sequence[str] | None = None
    """None: those that the document has already; none for a new one."""


class FileService:
    def __init__(
        self,
        catalog: Catalog,
        blobs: BlobStore,
        collector: BlobCollector,
        ingestion: IngestionService,
        *,
        max_bytes: int,
    ) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._collector = collector
        self._ingestion = ingestion
        self._max_bytes = max_bytes
        self._owner: str | None = None
        self._sees: Callable[[str], bool] = lambda _: True
        self._prefix = ""
        self._selects: Callable[[Collection], Selection] = lambda _: EVERY

    def of(
        self,
        owner: str,
        sees: Callable[[str], bool],
        prefix: str = "",
        selects: Callable[[Collection], Selection] = lambda _: EVERY,
    ) -> "FileService":
        """Returns the service for a caller who has the uploads of `owner`, and documents whose ids begin with `prefix`
        and that `selects` is true of, in the collections that `sees` is true of, and nothing else. Ids come and go
        without the prefix.
        """
        limited = copy(self)
        limited._owner, limited._sees, limited._prefix, limited._selects = owner, sees, prefix, selects
        return limited

    async def keep(self, filename: str, data: bytes, media_type: str | None) -> StoredFile:
        """Stores the file; it is durable when this returns. Raises InvalidRequest and its subclasses for files that
        could not be ingested.
        """
        if len(data) > self._max_bytes:
            raise TooLarge(
                f"The file has {len(data):,} bytes; at most {self._max_bytes:,} are taken.", limit=self._max_bytes
            )
        if not data.strip():
            raise EmptyText("The file is empty or holds only white space.")
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in filename):
            raise InvalidText("The file's name holds control characters or surrogates.")
        size = len(filename.encode())
        if not 0 < size <= MAX_NAME_BYTES:
            raise InvalidRequest(f"The file's name has {size} bytes; 1 to {MAX_NAME_BYTES} are taken.")
        await asyncio.to_thread(detect, data, filename=filename, declared=media_type)
        digest = await asyncio.to_thread(lambda: sha256(data).hexdigest())
        self._ingestion.require_room()
        await self._blobs.put({digest: data})
        uploaded = datetime.now(UTC).replace(microsecond=0)
        known = KnownUpload(digest, filename, uploaded, b"")
        id_ = file_id(replace(known, mac=await self._mac(known)))
        return StoredFile(id_, filename, digest, uploaded, len(data))

    async def find(self, id_: str) -> StoredFile:
        """Returns the file. Raises DocumentNotFound."""
        if upload := await self._upload(id_):
            return upload[0]
        return await self._document(id_)

    async def read(self, id_: str) -> tuple[StoredFile, bytes]:
        """Returns the file with its bytes. Raises DocumentNotFound."""
        if upload := await self._upload(id_):
            return upload
        found = await self._document(id_)
        data = await self._original(found.sha256)
        if data is None:
            raise DocumentNotFound(f"The original of file {id_[:200]!r} is gone.")
        return found, data

    async def uploads(self, collection: str | None, wanted: Mapping[str, Attached]) -> Sequence[Upload]:
        """Returns files by their ids as documents of `collection` (None: of a new one), to be accepted. Raises
        DocumentNotFound, TooLarge.
        """
        known: Mapping[DocumentId, DocumentRecord] = {}
        if collection:
            known = await self._catalog.documents_named(collection, [DocumentId(self._prefix + id_) for id_ in wanted])
        made: list[Upload] = []
        size = 0
        for id_, attached in wanted.items():
            found, data = await self.read(id_)
            size += len(data)
            if size > MAX_BATCH_BYTES:
                raise TooLarge(
                    f"The files have more than {MAX_BATCH_BYTES:,} bytes together. Send several batches.",
                    limit=MAX_BATCH_BYTES,
                )
            there = known.get(DocumentId(self._prefix + id_))
            groups = attached.groups
            if groups is None:
                groups = (there.document.groups or ()) if there else ()
            made.append(
                Upload(
                    data=data,
                    id=id_,
                    filename=None if found.media_type else found.filename,
                    media_type=found.media_type,
                    title=there.document.title if there else "",
                    partition=there.document.partition if there else "",
                    metadata=attached.metadata,
                    groups=tuple(groups),
                    language=there.document.language if there else None,
                )
            )
        return made

    async def delete(self, id_: str) -> None:
        """Deletes the file with all documents made from it. Does nothing when an upload is gone already. Raises
        DocumentNotFound for any other unknown id, DocumentBusy."""
        found = await self.documents(id_)
        known = await self._known(id_)
        if not found and known is None:
            raise DocumentNotFound(f"There is no file {id_[:200]!r}.")
        for collection, record in found:
            await self._ingestion.delete(collection.name, record.document.id)
        # Others may be about to use the same bytes: where that is not this caller's to see, an audit removes them.
        if known and self._owner is None:
            await self._collector.retire([known.sha256])

    async def documents(self, id_: str) -> Sequence[tuple[Collection, DocumentRecord]]:
        """Returns the documents of the file in all collections."""
        wanted = DocumentId(self._prefix + id_)
        found = []
        for collection in await self._collections():
            record = (await self._catalog.documents_named(collection.name, [wanted])).get(wanted)
            if record and self._selects(collection)(record):
                found.append((collection, record))
        return found

    async def page(self, after: str | None, limit: int) -> Sequence[StoredFile]:
        """Returns the files that belong to a collection: the first `limit` by id after `after`. Raises Unsupported
        where too many documents would be read that the caller does not see.
        """
        found: dict[str, StoredFile] = {}
        patience = Patience()
        for collection in await self._collections():
            records = selected(
                self._catalog,
                collection.name,
                self._selects(collection),
                after=DocumentId(self._prefix + after) if after else None,
                prefix=self._prefix or None,
                at_once=max(limit, READ_DOCUMENTS),
                patience=patience,
            )
            async with aclosing(records):
                taken = 0
                async for record in records:
                    found.setdefault(record.document.id, self._file(record))
                    taken += 1
                    if taken == limit:
                        break
        return [found[id_] for id_ in sorted(found)][:limit]

    async def _upload(self, id_: str) -> tuple[StoredFile, bytes] | None:
        """Returns None when the id is not of an upload, or its bytes are gone."""
        known = await self._known(id_)
        data = await self._original(known.sha256) if known else None
        if known is None or data is None:
            return None
        return StoredFile(id_, known.filename, known.sha256, known.uploaded_at, len(data)), data

    async def _known(self, id_: str) -> "KnownUpload | None":
        """None also for an upload that is not this caller's."""
        known = read_id(id_)
        if known is None or self._owner is None:
            return known
        return known if hmac.compare_digest(known.mac, await self._mac(known)) else None

    async def _mac(self, known: "KnownUpload") -> bytes:
        """Returns the MAC of an id for this caller."""
        named = f"{self._owner or ''}\0{known.sha256}\0{known.uploaded_at.timestamp():.0f}\0{known.filename}"
        return hmac.digest(await self._catalog.secret(FILE_KEY), named.encode(), "sha256")[:MAC_BYTES]

    async def _document(self, id_: str) -> StoredFile:
        """Returns a document as a file. Raises DocumentNotFound."""
        for _, record in await self.documents(id_):
            return self._file(record)
        raise DocumentNotFound(
            f"There is no file {id_[:200]!r}: it was deleted, or belonged to no vector store for too long. Upload it."
        )

    def _file(self, record: DocumentRecord) -> StoredFile:
        shown = DocumentId(record.document.id.removeprefix(self._prefix))
        return as_file(replace(record, document=replace(record.document, id=shown)))

    async def _original(self, digest: str) -> bytes | None:
        return (await self._blobs.get([digest])).get(digest)

    async def _collections(self) -> Sequence[Collection]:
        return [
            each for each in await self._catalog.collections() if not is_internal(each.name) and self._sees(each.name)
        ]


@dataclass(frozen=True, slots=True)
class KnownUpload:
    """The fields that an upload's id encodes."""

    sha256: str
    filename: str
    uploaded_at: datetime
    mac: bytes
    """MAC_BYTES, over the other fields and who uploaded."""


def file_id(upload: KnownUpload) -> str:
    time = int(upload.uploaded_at.timestamp()).to_bytes(TIME_BYTES, "big")
    packed = urlsafe_b64encode(time + bytes.fromhex(upload.sha256) + upload.mac + upload.filename.encode())
    return PREFIX + packed.decode().rstrip("=")


def read_id(id_: str) -> KnownUpload | None:
    """Returns None for ids that are not of an upload, such as those of documents that were ingested otherwise."""
    packed = id_.removeprefix(PREFIX)
    try:
        raw = urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
        time, raw = raw[:TIME_BYTES], raw[TIME_BYTES:]
        digest, mac, name = raw[:HASH_BYTES], raw[HASH_BYTES : HASH_BYTES + MAC_BYTES], raw[HASH_BYTES + MAC_BYTES :]
        uploaded_at = datetime.fromtimestamp(int.from_bytes(time, "big"), UTC)
        known = KnownUpload(digest.hex(), name.decode(), uploaded_at, mac)
    except ValueError:
        return None
    # Only ids that `file_id` makes: other spellings of the same bytes would be other documents.
    whole = len(digest) == HASH_BYTES and known.filename
    return known if whole and file_id(known) == id_ else None


def as_file(record: DocumentRecord) -> StoredFile:
    document = record.document
    return StoredFile(
        id=document.id,
        filename=filename_of(document.id, document.title),
        sha256=document.sha256,
        created_at=record.ingested_at,
        size=document.size,
        media_type=document.media_type,
    )


def filename_of(id_: str, title: str) -> str:
    """Returns the file name of the upload; for other documents the title, or else the id."""
    known = read_id(id_)
    return known.filename if known else title or id_
