"""The audit log: who did what, when, from where and with what outcome. Entries are added and, when they are old,
removed; nothing changes one. They never hold texts of documents or queries, nor keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

Action = Literal[
    "request",
    "documents.ingest",
    "document.delete",
    "document.export",
    "file.upload",
    "file.delete",
    "job.cancel",
    "collection.create",
    "collection.delete",
    "collection.export",
    "collection.golden",
    "collection.reembed",
    "collection.rollback",
    "collection.audit",
    "key.create",
    "key.rotate",
    "key.revoke",
]
"""`request` is one that was refused before it was known what it would do."""
OK = "ok"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    at: datetime
    key_id: str | None
    """None: the node has no keys, or the request brought none that is known."""
    address: str | None
    """Address that the request came from."""
    action: Action
    outcome: str
    """OK, or the code of the error that the caller got."""
    collection: str | None = None
    document_id: str | None = None
    subject: str | None = None
    """Id of the job, file or key that the action made or concerned; the path of a request that was refused."""
    token_subject: str | None = None
    """`sub` of the token that the request had, as app.http.security.tokens cleans it."""
    count: int = 1
    """Documents of a request that ingests; refusals that one entry stands for."""
    id: int = 0
    """Grows with every entry. 0: not recorded yet."""


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Selects entries; None selects any."""

    key_id: str | None = None
    action: str | None = None
    collection: str | None = None
    document_id: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    token_subject: str | None = None


class AuditCatalog(Protocol):
    """The part of the catalog that holds the audit log. Every method is one transaction; raises CatalogUnavailable."""

    async def record(self, entries: Sequence[AuditEntry]) -> None:
        """Records an entry; it is durable when this returns."""
        ...

    async def recorded(
        self, filter: AuditFilter, *, before: int | None = None, limit: int = 100
    ) -> Sequence[AuditEntry]:
        """Returns the latest entries first, those with ids below `before`."""
        ...

    async def remove_recorded(self, *, before: datetime, limit: int) -> int:
        """Removes the oldest entries from before then, at most `limit`; returns how many."""
        ...
