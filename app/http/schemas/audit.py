"""Requests and reports of audits."""

from datetime import datetime
from typing import Self

from pydantic import Field

from app.http.schemas.wire import Wire, WireRequest
from ingestion.audit.report import AuditReport, FindingKind, NoteKind


class AuditIn(WireRequest):
    # Of any form: collections that are being filled in the background have names that no request can give.
    collection: str | None = Field(
        None, max_length=200, description="Collection to audit. Default: all collections and the originals."
    )
    repair: bool = Field(False, description="Repair what can be repaired.")


class FindingOut(Wire):
    kind: FindingKind = Field(description="Kind of the disagreement.")
    collection: str = Field(description="Collection concerned; empty if it concerns none.")
    count: int = Field(description="Number of cases.")
    repaired: int = Field(description="Number of cases that were repaired.")
    examples: list[str] = Field(
        description="At most 100 examples: ids of documents, hashes of blobs or names of collections."
    )


class NoteOut(Wire):
    kind: NoteKind = Field(description="Kind of the note.")
    collection: str = Field(description="Collection concerned; empty if it concerns none.")
    count: int = Field(description="Number of cases.")
    examples: list[str] = Field(description="At most 100 examples: ids of documents or names of collections.")


class AuditOut(Wire):
    clean: bool = Field(description="Whether no finding is left unrepaired.")
    repair: bool = Field(description="Whether a repair was requested.")
    started_at: datetime = Field(description="Start of the audit.")
    seconds: float = Field(description="Duration in seconds.")
    collections: int = Field(description="Number of collections audited.")
    documents: int = Field(description="Number of documents in these collections, by the catalog.")
    chunks: int = Field(description="Number of chunks read from the store.")
    blobs: int = Field(description="Number of originals examined.")
    findings: list[FindingOut] = Field(
        description="Disagreements between catalog, store and originals; empty if there are none."
    )
    notes: list[NoteOut] = Field(description="Remarks that are not errors.")

    @classmethod
    def of(cls, report: AuditReport) -> Self:
        return cls.model_validate(report, from_attributes=True)
