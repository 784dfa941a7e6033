"""What tests put into a catalog."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from ingestion.ports import Catalog
from ingestion.types import Chunking, Claim, Collection, Document, DocumentError, JobId, Outcome, WorkerId
from retrieval.types import DocumentId, Fingerprint, StoreName

LEASE = timedelta(minutes=1)
# A catalog queues documents at the time of its own clock: all of them are due by now.
NOW = datetime.now(UTC) + timedelta(days=1)
WORKER = WorkerId("worker")


def a_collection(name: str = "docs") -> Collection:
    fingerprint = Fingerprint("model", "0123456789ab", 8, True, "1")
    return Collection(
        name,
        StoreName(f"{name}__{fingerprint.digest}"),
        fingerprint,
        "mixed",
        Chunking(256, 32),
        NOW,
        metadata_keys={"year": "int", "title": "text"},
        query_instruction="Find what answers the question",
        document_instruction="passage: ",
    )


def a_document(name: str, text: str | None = None, *, collection: str = "docs") -> Document:
    """Of bytes that no other has, unless told which."""
    text = f"text of {name}" if text is None else text
    return Document(
        collection=collection,
        id=DocumentId(name),
        sha256=sha256(text.encode()).hexdigest(),
        size=len(text),
        media_type="text/plain",
        title=f"Title of {name}",
        partition="tenant",
        metadata={"year": 2024, "tags": ["a", "b"], "nested": {"z": None, "a": "文"}},
        chunking=Chunking(128, 16),
    )


def success(claim: Claim, *, chunks: int = 3, tokens: int = 30, truncated: int = 1) -> Outcome:
    digest = f"{claim.record.version:032x}"
    return Outcome(claim, chunks, tokens, truncated, reused_chunks=1, chunk_digest=digest, searchable_at=NOW)


def failure(claim: Claim, *, retry_at: datetime | None = None) -> Outcome:
    return Outcome(claim, error=DocumentError("parse_failed", "It is damaged."), retry_at=retry_at)


async def claim_one(catalog: Catalog, *, now: datetime = NOW, worker: WorkerId = WORKER) -> Claim:
    (claim,) = await catalog.claim(worker, limit=10, lease=LEASE, now=now)
    return claim


async def ingest(catalog: Catalog, *documents: Document, job: str) -> Sequence[Claim]:
    """Accepts and successfully completes `documents`."""
    await catalog.accept(JobId(job), documents[0].collection, documents)
    claims = await catalog.claim(WORKER, limit=len(documents), lease=LEASE, now=NOW)
    await catalog.complete([success(claim) for claim in claims])
    return claims


def retitled(document: Document, title: str) -> Document:
    return replace(document, title=title)
