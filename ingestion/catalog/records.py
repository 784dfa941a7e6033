"""Converts between rows of the catalog's tables and the types of ingestion."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from hashlib import sha256
from typing import Any

import numpy as np
from sqlalchemy import Row

from ingestion.types import (
    Chunking,
    Collection,
    Document,
    DocumentError,
    DocumentRecord,
    JobId,
    ReadingReport,
    Receipt,
)
from retrieval.errors import InvalidRequest
from retrieval.evaluation.golden_vectors import GoldenText, GoldenVectors
from retrieval.types import ChunkId, DocumentId, Fingerprint, StoreName

MESSAGE_CHARACTERS = 2000
"""Longest error message that is kept."""

Values = dict[str, Any]


def collection_values(collection: Collection) -> Values:
    return {
        "name": collection.name,
        "store_name": collection.store_name,
        "fingerprint": asdict(collection.fingerprint),
        "language": collection.language,
        "max_tokens": collection.chunking.max_tokens,
        "overlap": collection.chunking.overlap,
        "created_at": collection.created_at,
        "duplicates": collection.duplicates,
        "metadata_keys": dict(collection.metadata_keys),
        "query_instruction": collection.query_instruction,
        "rerank_instruction": collection.rerank_instruction,
        "document_instruction": collection.document_instruction,
        "principals": collection.principals,
    }


def collection(row: Row[Any]) -> Collection:
    return Collection(
        name=row.name,
        store_name=StoreName(row.store_name),
        fingerprint=fingerprint(row.fingerprint),
        language=row.language,
        chunking=Chunking(row.max_tokens, row.overlap),
        created_at=row.created_at,
        duplicates=row.duplicates,
        metadata_keys=row.metadata_keys,
        query_instruction=row.query_instruction,
        rerank_instruction=row.rerank_instruction,
        document_instruction=row.document_instruction,
        principals=row.principals,
    )


def fingerprint(stored: Mapping[str, Any]) -> Fingerprint:
    """Reads a stored fingerprint. Those of collections made before golden vectors name the engine and its version as
    well, which decides nothing any more: they are read as fingerprints of the same model.
    """
    return Fingerprint(**{field.name: stored[field.name] for field in fields(Fingerprint)})


def golden_values(golden: GoldenVectors) -> Values:
    return {
        "golden_texts": [asdict(each) for each in golden.texts],
        "golden_vectors": np.ascontiguousarray(golden.vectors, dtype="<f4").tobytes(),
    }


def golden_vectors(row: Row[Any]) -> GoldenVectors:
    texts = tuple(GoldenText(**each) for each in row.golden_texts)
    vectors = np.frombuffer(row.golden_vectors, dtype="<f4").reshape(len(texts), -1)
    return GoldenVectors(texts, vectors.astype(np.float32))


def digest(document: Document) -> str:
    """Returns 64 hexadecimal digits over everything that makes a new version of a document differ from the one before,
    except its chunking: the same in every collection that holds it, however it is chunked there.

    Raises InvalidRequest if the metadata is not JSON.
    """
    parts: list[object] = [
        document.sha256,
        document.title,
        document.media_type,
        document.partition,
        dict(document.metadata),
        *([] if document.groups is None else [document.groups]),
    ]
    if document.language:  # left out otherwise: the digests of earlier releases stay the same
        parts.append(document.language)
    try:
        canonical = json.dumps(parts, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"The metadata of document {document.id!r} is not JSON: {error}.") from error
    return sha256(canonical.encode()).hexdigest()


def groups_value(groups: tuple[str, ...] | None) -> list[str] | None:
    return None if groups is None else list(groups)


def document_values(document: Document, *, turn: int, background: bool, now: datetime) -> Values:
    """Returns the row of a new document, queued."""
    return {
        "collection": document.collection,
        "id": document.id,
        "sha256": document.sha256,
        "size": document.size,
        "media_type": document.media_type,
        "title": document.title,
        "partition": document.partition,
        "metadata": dict(document.metadata),
        "groups": groups_value(document.groups),
        "max_tokens": document.chunking.max_tokens,
        "overlap": document.chunking.overlap,
        "ocr": document.ocr,
        "traceparent": document.traceparent,
        "boilerplate": document.boilerplate,
        "stated_language": document.language,
        "digest": digest(document),
        "version": 1,
        "ingested_at": now,
        "state": "queued",
        "attempts": 0,
        "chunks": 0,
        "tokens": 0,
        "truncated_tokens": 0,
        "chunk_digest": "",
        "report": None,
        "language": None,
        "error_code": None,
        "error_message": None,
        "cancelled": False,
        "background": background,
        "turn": turn,
        "available_at": now,
        "due_at": now,
    }


def record(row: Row[Any]) -> DocumentRecord:
    document = Document(
        collection=row.collection,
        id=DocumentId(row.id),
        sha256=row.sha256,
        size=row.size,
        media_type=row.media_type,
        title=row.title,
        partition=row.partition,
        metadata=row.metadata,
        chunking=Chunking(row.max_tokens, row.overlap),
        ocr=row.ocr,
        traceparent=row.traceparent,
        boilerplate=row.boilerplate,
        groups=None if row.groups is None else tuple(row.groups),
        language=row.stated_language,
    )
    processing = row.lease_token is not None and row.lease_version == row.version
    return DocumentRecord(
        document=document,
        version=row.version,
        state="processing" if processing else row.state,
        attempts=row.attempts,
        chunks=row.chunks,
        tokens=row.tokens,
        truncated_tokens=row.truncated_tokens,
        ingested_at=row.ingested_at,
        searchable_at=row.searchable_at,
        error=_error(row),
        chunk_digest=row.chunk_digest,
        cancelled=row.cancelled,
        rollback_ids=None if row.rollback_ids is None else frozenset(map(ChunkId, row.rollback_ids)),
        report=_report(row),
        language=row.language,
    )


def receipt_values(receipt: Receipt, *, collection: str, position: int) -> Values:
    return {
        "job_id": receipt.job_id,
        "position": position,
        "collection": collection,
        "document_id": receipt.document_id,
        "version": receipt.version,
        "status": receipt.status,
        "chunks": receipt.chunks,
        "tokens": receipt.tokens,
        "truncated_tokens": receipt.truncated_tokens,
        "reused_chunks": receipt.reused_chunks,
        "searchable_at": receipt.searchable_at,
        "duplicate_of": receipt.duplicate_of,
        "report": report_value(receipt.report),
        **error_values(receipt.error),
    }


def receipt(row: Row[Any]) -> Receipt:
    return Receipt(
        job_id=JobId(row.job_id),
        document_id=DocumentId(row.document_id),
        version=row.version,
        status=row.status,
        chunks=row.chunks,
        tokens=row.tokens,
        truncated_tokens=row.truncated_tokens,
        reused_chunks=row.reused_chunks,
        searchable_at=row.searchable_at,
        duplicate_of=row.duplicate_of,
        error=_error(row),
        report=_report(row),
    )


def report_value(report: ReadingReport) -> Values | None:
    return None if report == ReadingReport() else asdict(report)


def _report(row: Row[Any]) -> ReadingReport:
    if row.report is None:
        return ReadingReport()
    values: Values = row.report
    return ReadingReport(
        pages=values["pages"],
        pages_without_text=tuple(values["pages_without_text"]),
        ocr_pages=tuple(values["ocr_pages"]),
        ocr_confidence=values["ocr_confidence"],
        warnings=tuple(values["warnings"]),
        title=values.get("title", ""),  # absent from rows of earlier releases
    )


def error_values(error: DocumentError | None) -> Mapping[str, str | None]:
    if error is None:
        return {"error_code": None, "error_message": None}
    return {"error_code": error.code, "error_message": error.message[:MESSAGE_CHARACTERS]}


def _error(row: Row[Any]) -> DocumentError | None:
    return None if row.error_code is None else DocumentError(row.error_code, row.error_message)
