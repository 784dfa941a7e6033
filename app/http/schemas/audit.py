"""What an audit is asked and answers."""

from datetime import datetime
from typing import Self

from pydantic import Field

from app.http.schemas.wire import Wire, WireRequest
from ingestion.audit.report import AuditReport, FindingKind, NoteKind


class AuditIn(WireRequest):
    # Of any form: collections that are being filled in the background have names that no request can give.
    collection: str | None = Field(None, max_length=200, description="Default: all of them, and the originals.")
    repair: bool = Field(False, description="Mend what can be mended.")


class FindingOut(Wire):
    kind: FindingKind = Field(description="Which two parts disagree, and how.")
    collection: str = Field(description="Empty for what belongs to none.")
    count: int = Field(description="How often.")
    repaired: int = Field(description="How many of them were mended.")
    examples: list[str] = Field(description="At most 100: ids of documents, hashes of blobs or names of collections.")


class NoteOut(Wire):
    kind: NoteKind = Field(description="What is to be known.")
    collection: str = Field(description="Empty for what belongs to none.")
    count: int = Field(description="How often.")
    examples: list[str] = Field(description="At most 100: ids of documents or names of collections.")


class AuditOut(Wire):
    clean: bool = Field(description="Whether nothing is left to mend.")
    repair: bool = Field(description="Whether mending was asked for.")
    started_at: datetime = Field(description="When the audit began.")
    seconds: float = Field(description="How long it took.")
    collections: int = Field(description="How many were audited.")
    documents: int = Field(description="How many the catalog has in them.")
    chunks: int = Field(description="How many were read from the store.")
    blobs: int = Field(description="How many originals were looked at.")
    findings: list[FindingOut] = Field(description="Where two parts disagree; empty where all is well.")
    notes: list[NoteOut] = Field(description="What to know when reading the findings; no faults.")

    @classmethod
    def of(cls, report: AuditReport) -> Self:
        return cls.model_validate(report, from_attributes=True)
