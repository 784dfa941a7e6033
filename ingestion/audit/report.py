"""The findings of an audit, and the builder that collects them while it runs."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Literal

import structlog

log = structlog.get_logger()

MAX_EXAMPLES = 100
PROGRESS_SECONDS = 10.0
"""Interval in which a long audit logs its progress."""

FindingKind = Literal[
    "chunks_without_document",
    "documents_outdated",
    "failed_documents_with_chunks",
    "collections_not_in_store",
    "collections_not_in_catalog",
    "originals_missing",
    "blobs_without_owner",
]
NoteKind = Literal[
    "documents_moving",
    "documents_counted_only",
    "documents_waiting_long",
    "chunks_not_judged",
    "collections_of_another_model",
]


@dataclass(frozen=True, slots=True)
class Finding:
    """Two parts that disagree."""

    kind: FindingKind
    collection: str
    """Empty for what belongs to none."""
    count: int
    repaired: int
    examples: tuple[str, ...]
    """The first ones, at most MAX_EXAMPLES: ids of documents, hashes of blobs or names of collections."""


@dataclass(frozen=True, slots=True)
class Note:
    """An observation that is not a fault."""

    kind: NoteKind
    collection: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AuditReport:
    started_at: datetime
    seconds: float
    repair: bool
    collections: int
    documents: int
    chunks: int
    """Chunks in the collections that were audited, as counted while reading them."""
    blobs: int
    findings: tuple[Finding, ...]
    notes: tuple[Note, ...]

    @property
    def clean(self) -> bool:
        """Whether no finding needs repair or attention."""
        unseen = any(note.kind == "chunks_not_judged" for note in self.notes)
        return not unseen and not self.left

    @property
    def left(self) -> Mapping[FindingKind, int]:
        """Returns the number of findings that were not repaired."""
        counts: Counter[FindingKind] = Counter()
        for finding in self.findings:
            counts[finding.kind] += finding.count - finding.repaired
        return +counts


@dataclass(slots=True)
class _Entry:
    count: int = 0
    repaired: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str, count: int, repaired: int) -> None:
        self.count += count
        self.repaired += repaired
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(example)


class ReportBuilder:
    """Collects the findings of one audit: counts and the first examples, so that its size is bounded."""

    def __init__(self) -> None:
        self.collections = self.documents = self.chunks = self.blobs = 0
        self._started_at = datetime.now(UTC)
        self._started = self._logged_at = monotonic()
        self._findings: dict[tuple[FindingKind, str], _Entry] = {}
        self._notes: dict[tuple[NoteKind, str], _Entry] = {}

    def found(
        self, kind: FindingKind, example: str, *, collection: str = "", count: int = 1, repaired: int = 0
    ) -> None:
        self._findings.setdefault((kind, collection), _Entry()).add(example, count, repaired)

    def noted(self, kind: NoteKind, example: str, *, collection: str = "", count: int = 1) -> None:
        self._notes.setdefault((kind, collection), _Entry()).add(example, count, 0)

    def log_progress(self, step: str) -> None:
        """Logs progress at most once in PROGRESS_SECONDS; called after every page."""
        if monotonic() - self._logged_at > PROGRESS_SECONDS:
            self._logged_at = monotonic()
            log.info("auditing", step=step, documents=self.documents, chunks=self.chunks, blobs=self.blobs)

    def report(self, *, repair: bool) -> AuditReport:
        findings = tuple(
            Finding(kind, collection, entry.count, entry.repaired, tuple(entry.examples))
            for (kind, collection), entry in self._findings.items()
        )
        return AuditReport(
            started_at=self._started_at,
            seconds=monotonic() - self._started,
            repair=repair,
            collections=self.collections,
            documents=self.documents,
            chunks=self.chunks,
            blobs=self.blobs,
            findings=findings,
            notes=tuple(self._noted()),
        )

    def _noted(self) -> Iterator[Note]:
        for (kind, collection), entry in self._notes.items():
            yield Note(kind, collection, entry.count, tuple(entry.examples))
