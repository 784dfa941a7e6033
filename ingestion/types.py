"""The types of ingestion: documents as received, what was read from them, and the results."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import reduce
from operator import xor
from typing import Literal, NewType

from retrieval.filters.tree import KeyType
from retrieval.types import ChunkId, DocumentId, Fingerprint, Language, StoreName

JobId = NewType("JobId", str)
WorkerId = NewType("WorkerId", str)

DocumentState = Literal["queued", "processing", "ready", "failed"]
ReceiptStatus = Literal["queued", "ready", "unchanged", "replaced", "duplicate_of", "failed"]
JobState = Literal["queued", "running", "succeeded", "partial", "failed", "cancelled"]
Duplicates = Literal["store", "skip"]
"""Treatment of bytes that the collection holds under another id: they are stored as well, or skipped."""


@dataclass(frozen=True, slots=True)
class Chunking:
    """The chunking of documents. Both in tokens of the collection's embedding model."""

    max_tokens: int = 512
    overlap: int = 64


OcrMode = Literal["auto", "never", "always"]
"""Whether text in pictures is read: of pages without text of their own, of none, of every page."""


Boilerplate = Literal["keep", "drop"]
"""Whether menus, headers, footers and notices of web pages are read."""


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """How the text of a document is read."""

    ocr: OcrMode = "auto"
    boilerplate: Boilerplate = "keep"


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """What a request may choose for all of its documents."""

    chunking: Chunking | None = None
    """None: that of the collection."""
    ocr: OcrMode | None = None
    """None: that of the node."""
    boilerplate: Boilerplate = "keep"
    split_lines: bool = False
    """Whether each line of JSONL becomes a document."""
    unpack: bool = True
    """Whether the files in archives and mail become documents. False keeps them as they are."""


@dataclass(frozen=True, slots=True)
class ReadingReport:
    """Reports how a document's pages were read, and what its reader should know."""

    pages: int = 0
    """0 for documents that have none."""
    pages_without_text: tuple[int, ...] = ()
    """Numbers of pages of which nothing could be read."""
    ocr_pages: tuple[int, ...] = ()
    """Numbers of pages that were read by OCR."""
    ocr_confidence: float | None = None
    """Mean over these pages, 0 to 1."""
    warnings: tuple[str, ...] = ()
    """Sentences: what was not read, or possibly wrongly."""
    title: str = ""
    """The title that every chunk was embedded with: of the request, or else of the document; empty without."""


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection as the catalog records it. In the store, `name` is an alias of `store_name`."""

    name: str
    store_name: StoreName
    fingerprint: Fingerprint
    language: Language
    chunking: Chunking
    created_at: datetime
    duplicates: Duplicates = "store"
    metadata_keys: Mapping[str, KeyType] = field(default_factory=dict)
    """Declared; see CollectionSpec."""
    query_instruction: str | None = None
    """Instruction for queries without one. None: the model's default."""
    rerank_instruction: str | None = None
    document_instruction: str | None = None
    """Text put before every passage that is embedded. Vectors depend on it, so it never changes."""
    principals: bool = False
    """Whether documents state the groups that may read them. Never changes."""


@dataclass(frozen=True, slots=True)
class CollectionOptions:
    """What the creator of a collection may choose; the fields are those of Collection."""

    language: Language = "mixed"
    chunking: Chunking = Chunking()
    duplicates: Duplicates = "store"
    metadata_keys: Mapping[str, KeyType] = field(default_factory=dict)
    query_instruction: str | None = None
    rerank_instruction: str | None = None
    document_instruction: str | None = None
    principals: bool = False


@dataclass(frozen=True, slots=True)
class GoldenQuery:
    """A query whose answer is known, used to measure a collection."""

    query: str
    relevant: tuple[DocumentId, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """One document as accepted: the original is in the blob store under `sha256`."""

    collection: str
    id: DocumentId
    sha256: str
    size: int
    """Bytes of the original."""
    media_type: str
    title: str
    partition: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict)
    chunking: Chunking = Chunking()
    ocr: OcrMode = "auto"
    traceparent: str | None = None
    """W3C trace context of the request that brought it."""
    boilerplate: Boilerplate = "keep"
    groups: tuple[str, ...] | None = None
    """Groups that may read it, as retrieval.filters.groups.unique orders them; None exactly where the collection has no
    principals."""
    language: str | None = None
    """As the request states it, a code of ISO 639; None: to be detected."""


MAX_ID_BYTES = 512
"""Limit of a document's id, and of a partition."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One document as it came over the wire."""

    data: bytes
    id: str | None = None
    filename: str | None = None
    media_type: str | None = None
    title: str = ""
    partition: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    """Groups that may read it, in a collection with principals."""
    language: str | None = None


@dataclass(frozen=True, slots=True)
class SkippedPart:
    """A part of an archive or mail that did not become a document."""

    name: str
    """The id that it would have had."""
    reason: str


@dataclass(frozen=True, slots=True)
class DocumentError:
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class DocumentRecord:
    """A document and its state. After a failed replacement `state` is `failed` while `chunks`, `tokens` and
    `searchable_at` still describe the version that search finds."""

    document: Document
    version: int
    """Grows by one with every accepted change."""
    state: DocumentState
    attempts: int
    chunks: int
    tokens: int
    truncated_tokens: int
    ingested_at: datetime
    """Time at which the current version was accepted."""
    searchable_at: datetime | None
    error: DocumentError | None
    chunk_digest: str = ""
    """`digest_of` the chunk ids that the store holds for it; empty while it was never searchable."""
    cancelled: bool = False
    """Whether the work on this version was cancelled."""
    rollback_ids: frozenset[ChunkId] | None = None
    """Set while the store may hold more of the document than its last success wrote: the chunks that this one wrote, to
    which a failure goes back. Empty where there was none."""
    report: ReadingReport = ReadingReport()
    """Report of the version that search finds."""
    language: str | None = None
    """Language of the version that search finds, stated or detected; None if it is not known."""

    @property
    def title(self) -> str:
        """The title of the request, or else the one that was read from the document; empty without."""
        return self.document.title or self.report.title


@dataclass(frozen=True, slots=True)
class QueueState:
    documents: int
    """Queued or being processed."""
    processing: int
    """Number of documents under a lease."""
    oldest: datetime | None
    """Time at which the longest waiting document without a lease was accepted; None if none waits."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Documents of a collection by state."""

    unfinished: int = 0
    """Queued or being processed."""
    ready: int = 0
    failed: int = 0
    cancelled: int = 0
    size: int = 0
    """Bytes of all originals."""
    chunks: int = 0
    """Chunks that the catalog counts as searchable."""
    languages: Mapping[str, int] = field(default_factory=dict)
    """Searchable documents by language, without those of unknown language."""

    def plus(self, record: "DocumentRecord") -> "Totals":
        """The totals with one more document."""
        kind = "unfinished" if record.state == "queued" else "cancelled" if record.cancelled else record.state
        size, chunks = self.size + record.document.size, self.chunks + record.chunks
        languages = dict(self.languages)
        if record.language:
            languages[record.language] = languages.get(record.language, 0) + 1
        return replace(self, size=size, chunks=chunks, languages=languages, **{kind: getattr(self, kind) + 1})


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of one document of one job."""

    job_id: JobId
    document_id: DocumentId
    version: int
    status: ReceiptStatus
    chunks: int = 0
    tokens: int = 0
    truncated_tokens: int = 0
    reused_chunks: int = 0
    """Chunks whose vectors were taken from the version before."""
    searchable_at: datetime | None = None
    """Set only after a strongly consistent read found every chunk."""
    duplicate_of: DocumentId | None = None
    """Another document of the collection with the same bytes. With status `duplicate_of` this one was left out."""
    error: DocumentError | None = None
    report: ReadingReport = ReadingReport()


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A client's name for one request, so that sending it again creates no second job."""

    key: str
    body_digest: str
    """64 hexadecimal digits over the content of the request."""


@dataclass(frozen=True, slots=True)
class Progress:
    documents: int
    done: int
    """Ended, well or badly."""
    failed: int
    chunks: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Job:
    id: JobId
    collection: str
    state: JobState
    progress: Progress
    created_at: datetime
    skipped: tuple[SkippedPart, ...] = ()
    tenant: str | None = None
    """Whose documents these are; None: of no tenant."""

    @property
    def ended(self) -> bool:
        return self.state not in ("queued", "running")


@dataclass(frozen=True, slots=True)
class Claim:
    """A document under a lease: until `lease_until` no other worker processes it."""

    record: DocumentRecord
    worker: WorkerId
    lease_until: datetime
    token: str
    """New with every claim: keeps a worker whose lease ran out from closing a later claim, even one of its own."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of the work on one claim."""

    claim: Claim
    chunks: int = 0
    tokens: int = 0
    truncated_tokens: int = 0
    reused_chunks: int = 0
    chunk_digest: str = ""
    """`digest_of` the chunk ids that were found in the store."""
    searchable_at: datetime | None = None
    error: DocumentError | None = None
    retry_at: datetime | None = None
    """Set where the failure is retryable and attempts are left: the document goes back to the queue."""
    written: bool = False
    """For a failure: whether chunks of the document may have reached the store in this attempt."""
    counted: bool = True
    """For a failure with `retry_at`: whether it counts as one of the document's attempts."""
    report: ReadingReport = ReadingReport()
    language: str | None = None
    version_lost: bool = False
    """For a failure: whether the store holds no chunk of the document any more, the earlier version included."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the parsed text."""

    number: int
    """Page number, from 1."""
    start: int
    """Offset in characters into ParsedDocument.text where the page begins."""


@dataclass(frozen=True, slots=True)
class ChunkSpan:
    """Position of a chunk in the text (characters), and its number of tokens without special tokens, the header
    included."""

    start: int
    end: int
    tokens: int
    section: tuple[str, ...] = ()
    """Titles of the headings above it, the outermost first."""
    header: tuple[int, int] | None = None
    """Position of the header of the table that the chunk begins in the middle of."""
    path: str = ""
    """The section as the models read it before the chunk; empty where they do not."""


@dataclass(frozen=True, slots=True)
class ChunkLayout:
    """The chunks of a text for an embedder."""

    title: str
    """The title that every chunk is embedded with."""
    spans: Sequence[ChunkSpan]
    """Spans in order; empty when there is no text."""


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    text: str
    """NFC, without NUL and lone surrogates, Markdown where the source has structure."""
    media_type: str
    title: str = ""
    """Title from the document's own properties; empty when it has none."""
    pages: tuple[Page, ...] = ()
    layout: ChunkLayout | None = None
    """None: not chunked yet."""
    report: ReadingReport = ReadingReport()


def digest_of(ids: Iterable[ChunkId]) -> str:
    """Returns 32 hexadecimal digits over a set of chunk ids, independent of their order: their exclusive or."""
    return f"{reduce(xor, (int(id_, 16) for id_ in ids), 0):032x}"
