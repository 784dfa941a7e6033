"""Ingestion's branch of the error tree."""

from retrieval.errors import InvalidRequest, TandemError, Unavailable


class UnsupportedMediaType(InvalidRequest):
    """The bytes are of no type that the service reads."""

    code = "unsupported_media_type"


class MediaTypeMismatch(InvalidRequest):
    """The file name or declared type contradicts the content."""

    code = "media_type_mismatch"


class TooLarge(InvalidRequest):
    """The request, one of its documents or their number exceeds a limit."""

    code = "too_large"


class Overloaded(Unavailable):
    """A limit is reached. `detail["retry_after_s"]` says when to retry."""

    code = "overloaded"


class ParseFailed(TandemError):
    """The document is damaged."""

    code = "parse_failed"


class EncryptedDocument(ParseFailed):
    """The document opens only with a password."""

    code = "encrypted_document"

    def __init__(
        self, message: str = "The document is protected by a password. Remove the password and send it again."
    ) -> None:
        super().__init__(message)


class ParseLimit(ParseFailed):
    """Reading the document would take more time, memory or output than allowed."""

    code = "parse_limit"


class ParserUnavailable(Unavailable):
    """No parser process can be started: the machine is out of memory, processes or open files."""

    code = "parser_unavailable"


class ParserBusy(Unavailable):
    """The document takes longer to read than most, and other such documents are being read."""

    code = "parser_busy"


class NoText(ParseFailed):
    """The document was read and holds no text (a scan, an empty sheet)."""

    code = "no_text"


class DocumentNotFound(TandemError):
    """The collection has no document with that id."""

    code = "document_not_found"


class JobNotFound(TandemError):
    """There is no job with that id."""

    code = "job_not_found"


class KeyNotFound(TandemError):
    """There is no API key with that id, or it was revoked."""

    code = "key_not_found"


class ReembeddingNotFound(TandemError):
    """The collection was not re-embedded since the node started."""

    code = "reembedding_not_found"


class IdempotencyConflict(TandemError):
    """The Idempotency-Key was used before for another request."""

    code = "idempotency_conflict"


class DocumentBusy(Unavailable):
    """Another worker holds the document's lease."""

    code = "document_busy"


class Cancelled(TandemError):
    """The work was cancelled before the document was written."""

    code = "cancelled"


class AttemptsExhausted(TandemError):
    """The work on the document was interrupted as often as it may be tried: each time the process was killed or ran out
    of memory.
    """

    code = "attempts_exhausted"


class NotReadBack(Unavailable):
    """The store accepted chunks and a strongly consistent read did not find them."""

    code = "not_read_back"


class AuditRunning(Unavailable):
    """An audit is running: a node runs one at a time."""

    code = "audit_running"


class CatalogUnavailable(Unavailable):
    """The database does not answer."""

    code = "catalog_unavailable"


class BlobMissing(TandemError):
    """The blob store does not hold an original that the catalog names, or holds other bytes under its hash."""

    code = "blob_missing"


class BlobStoreUnavailable(Unavailable):
    """The blob store cannot be written or read now (disk full, no permission)."""

    code = "blob_store_unavailable"


def document_not_found(collection: str, document_id: str) -> DocumentNotFound:
    return DocumentNotFound(
        f"There is no document {document_id!r} in collection {collection!r}.",
        collection=collection,
        document_id=document_id,
    )
