"""The catalog's tables. migrations/ creates them; a test keeps the two consistent."""

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()


class UtcDateTime(TypeDecorator[datetime]):
    """Timezone-aware on both sides. SQLite has no type for it and stores the UTC time."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("A time without a time zone is ambiguous.")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# Ordered by code point on every database and in Python: pages, and the order in which rows are locked, depend on it.
Key = String().with_variant(String(collation="C"), "postgresql")
Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

collections = Table(
    "collections",
    metadata,
    Column("name", Key, primary_key=True),
    Column("store_name", String, nullable=False),
    Column("fingerprint", Json, nullable=False),
    Column("language", String, nullable=False),
    Column("max_tokens", Integer, nullable=False),
    Column("overlap", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("duplicates", String, nullable=False),
    Column("metadata_keys", Json, nullable=False),
    Column("query_instruction", String),
    Column("document_instruction", String),
    Column("rerank_instruction", String),
    Column("principals", Boolean, nullable=False),
    # They belong to the vectors, so an exchange takes them along. Read only by the check at start.
    Column("golden_texts", Json),
    Column("golden_vectors", LargeBinary),
)

golden_queries = Table(
    "golden_queries",
    metadata,
    Column("collection", Key, ForeignKey(collections.c.name, ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("query", Text, nullable=False),
    Column("relevant", Json, nullable=False),
)

# Keys of the installation, such as that of cursors. A reader of the database could write to it as well.
secrets = Table(
    "secrets", metadata, Column("name", Key, primary_key=True), Column("value", LargeBinary, nullable=False)
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Key, primary_key=True),
    Column("name", String, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("scopes", Json, nullable=False),
    Column("collections", Json, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", String),
    Column("expires_at", UtcDateTime),
    Column("last_used_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Column("tenant", String),
    Column("filter", Json),
    Column("groups", Json),
    # The fields of KeyLimits.
    Column("limits", Json, nullable=False),
    Index("api_keys_digest", "digest", unique=True),
)

# One row. Every revocation and rotation adds one, so that nodes ask once for the changes of all keys.
key_changes = Table("key_changes", metadata, Column("count", BigInteger, nullable=False))

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("key_id", String),
    Column("address", String),
    Column("action", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("collection", String),
    Column("document_id", String),
    Column("subject", String),
    Column("token_subject", String),
    Column("count", Integer, nullable=False),
    Index("audit_log_at", "at"),
    # An id is never used twice: a page's cursor stays where it was.
    sqlite_autoincrement=True,
)

IN_QUEUE = text("due_at IS NOT NULL")

documents = Table(
    "documents",
    metadata,
    Column("collection", Key, ForeignKey(collections.c.name, ondelete="CASCADE"), primary_key=True),
    Column("id", Key, primary_key=True),
    # What was accepted
    Column("sha256", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("media_type", String, nullable=False),
    Column("title", Text, nullable=False),
    Column("partition", String, nullable=False),
    Column("metadata", Json, nullable=False),
    # A list of names, sorted; null where the collection has no principals.
    Column("groups", Json),
    Column("max_tokens", Integer, nullable=False),
    Column("overlap", Integer, nullable=False),
    # Over everything that distinguishes versions, except the chunking.
    Column("digest", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("ocr", String, nullable=False),
    Column("traceparent", String),
    Column("boilerplate", String, nullable=False),
    Column("stated_language", String),
    Column("ingested_at", UtcDateTime, nullable=False),
    # The state: `queued`, `ready` or `failed`. Whether it is being processed follows from the lease.
    Column("state", String, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("chunks", Integer, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("truncated_tokens", BigInteger, nullable=False),
    Column("searchable_at", UtcDateTime),
    Column("chunk_digest", String(32), nullable=False),
    # The fields of a ReadingReport; empty without remarks.
    Column("report", Json),
    # Stated or detected; empty if it is not known.
    Column("language", String),
    Column("error_code", String),
    Column("error_message", Text),
    # Belongs to the current version, whichever version is under a lease.
    Column("cancelled", Boolean, nullable=False),
    # A list of chunk ids; see DocumentRecord.
    Column("rollback_ids", Json),
    # The queue. `background` goes after all others that are due; `turn` orders the rest, see fair_turns.py;
    # `available_at` is when the current version may be worked on; `due_at` is when the next worker may take it: the
    # end of the lease while there is one, else `available_at` while queued, else nothing.
    Column("background", Boolean, nullable=False),
    Column("turn", BigInteger, nullable=False),
    Column("available_at", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime),
    # The lease. The token is new with every claim, so that an old claim never closes a later one.
    Column("lease_token", String),
    Column("lease_worker", String),
    Column("lease_version", Integer),
    # Partial, for queued or leased documents: a claim never scans finished ones.
    Index("documents_due", "background", "turn", "due_at", sqlite_where=IN_QUEUE, postgresql_where=IN_QUEUE),
    Index("documents_lease", "lease_token", unique=True),
    Index("documents_sha256", "sha256", "collection", "id"),
)

# Two rows, see fair_turns.py: the greatest turn that was ever claimed, and the last one of a requeued document.
turns = Table(
    "turns",
    metadata,
    Column("background", Boolean, primary_key=True),
    Column("claimed", BigInteger, nullable=False),
    Column("requeued", BigInteger, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Key, primary_key=True),
    Column("collection", Key, ForeignKey(collections.c.name, ondelete="CASCADE"), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("cancelled", Boolean, nullable=False),
    # The key is chosen by the client, the digest is that of its request.
    Column("key", String),
    Column("body_digest", String(64)),
    # Id of the API key that it came by, and the tenant of that key.
    Column("created_by", String),
    Column("tenant", String),
    # [{"name", "reason"}], of archives and mail.
    Column("skipped", Json),
    # Jobs without a key are all distinct.
    Index("jobs_key", "collection", "key", unique=True),
    Index("jobs_created_at", "created_at"),
    Index("jobs_created_by", "created_by"),
)

# Receipts outlive their document, so they refer to it by value.
receipts = Table(
    "receipts",
    metadata,
    Column("job_id", Key, ForeignKey(jobs.c.id, ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("collection", Key, nullable=False),
    Column("document_id", Key, nullable=False),
    Column("version", Integer, nullable=False),
    Column("status", String, nullable=False),
    Column("chunks", Integer, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("truncated_tokens", BigInteger, nullable=False),
    Column("reused_chunks", Integer, nullable=False),
    Column("searchable_at", UtcDateTime),
    Column("duplicate_of", Key),
    Column("error_code", String),
    Column("error_message", Text),
    Column("report", Json),
    Index("receipts_document", "collection", "document_id"),
)
