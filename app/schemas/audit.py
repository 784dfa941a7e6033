"""What an audit is asked and answers."""

from datetime import datetime
from typing import Self

from pydantic import Field

from app.schemas.wire import Wire
from ingestion.audit.report import AuditReport, FindingKind, NoteKind


class AuditIn(Wire):
    # Of any form: collections that are being filled in the background have names that no request can give.
    collection: str | None = Field(None, max_length=200, description="Default: all of them, and the originals.")
    repair: bool = Field(False, description="Mend what can be mended.")


class FindingOut(Wire):
    kind: FindingKind
    collection: str = Field(description="Empty for what belongs to none.")
    count: int
    repaired: int
    examples: list[str] = Field(description="At most 100: ids of documents, hashes of blobs or names of collections.")


class NoteOut(Wire):
    kind: NoteKind
    collection: str
    count: int
    examples: list[str]


class AuditOut(Wire):
    clean: bool = Field(description="Whether nothing is left to mend.")
    repair: bool
    started_at: datetime
    seconds: float
    collections: int
    documents: int
    chunks: int
    blobs: int
    findings: list[FindingOut]
    notes: list[NoteOut] = Field(description="What to know when reading the findings; no faults.")

    @classmethod
    def of(cls, report: AuditReport) -> Self:
        return cls.model_validate(report, from_attributes=True)
