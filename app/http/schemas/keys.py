"""Requests and answers about API keys and the audit log."""

from datetime import datetime
from functools import partial
from typing import Annotated
from unicodedata import normalize

from pydantic import AfterValidator, Field, JsonValue, StringConstraints

from app.http.schemas.wire import FilledText, FilterTree, Group, Moment, Wire, WireRequest
from ingestion.access.keys import KeyLimits, Scope
from retrieval.filters.groups import MAX_CALLER_GROUPS

MAX_COLLECTIONS = 100
TENANT = r"^[A-Za-z0-9_.-]{1,32}$"
COLLECTION_GLOB = r"^([^\W\d_]|[*?])[\w.*?-]{0,99}$"

CollectionGlob = Annotated[
    str, StringConstraints(pattern=COLLECTION_GLOB, max_length=100), AfterValidator(partial(normalize, "NFC"))
]


Limit = Annotated[int | None, Field(ge=1, le=2**53)]


class LimitsIn(WireRequest):
    requests_per_minute: Limit = Field(None, description="Requests a minute, counted by each node.")
    texts_per_minute: Limit = Field(None, description="Texts a minute that are embedded for the caller.")
    candidates_per_minute: Limit = Field(None, description="Passages a minute that are ranked for the caller.")
    documents: Limit = Field(None, description="Documents in all collections that the key has.")
    bytes: Limit = Field(None, description="Bytes of their originals.")
    queued_jobs: Limit = Field(None, description="Jobs of the key that have not ended.")

    def to_limits(self) -> KeyLimits:
        return KeyLimits(**self.model_dump())


class LimitsOut(Wire):
    requests_per_minute: int | None = Field(description="Requests a minute; null: no limit.")
    texts_per_minute: int | None = Field(description="Texts a minute that are embedded; null: no limit.")
    candidates_per_minute: int | None = Field(description="Passages a minute that are ranked; null: no limit.")
    documents: int | None = Field(description="Documents in all collections of the key; null: no limit.")
    bytes: int | None = Field(description="Bytes of their originals; null: no limit.")
    queued_jobs: int | None = Field(description="Jobs that have not ended; null: no limit.")


class KeyIn(WireRequest):
    name: Annotated[FilledText, Field(max_length=100)] = Field(description="Name for people; need not be unique.")
    scopes: list[Scope] = Field(
        min_length=1,
        max_length=4,
        description="What the key may do. search: search, and read documents; ingest: write and delete documents; "
        "manage: create, delete and re-embed collections; admin: everything, keys and the audit log included.",
    )
    collections: list[CollectionGlob] = Field(
        ["*"],
        min_length=1,
        max_length=MAX_COLLECTIONS,
        description="Collections that exist for the key: names, and globs with `*` and `?`. `admin` needs `*`.",
    )
    expires_at: Moment | None = Field(None, description="Time from which the key counts no more. Default: never.")
    tenant: Annotated[str, StringConstraints(pattern=TENANT, max_length=32)] | None = Field(
        None,
        description="The key reads and writes the documents of this tenant alone, and they are no other tenant's. With "
        "`search` and `ingest` only. Letters, digits, `.`, `_`, `-`; at most 32.",
    )
    filter: FilterTree | None = Field(
        None,
        description="The key reads the documents that this filter selects, and no others exist for it: a tree as in "
        "`POST /search`, over metadata, `document_id`, `media_type`, `partition` and `ingested_at`. With the scope "
        "`search` only.",
    )
    groups: list[Group] | None = Field(
        None,
        max_length=MAX_CALLER_GROUPS,
        description="Groups of the key's holder: in collections with principals the key reads the documents that any "
        "of them may read. With the scope `search` only. A token sent with the key is bounded by them.",
    )
    limits: LimitsIn = Field(LimitsIn(), description="Limits of the key; beyond one the answer is 429.")


class KeyOut(Wire):
    id: str = Field(description="Id of the key, which logs and the audit log name it by.")
    name: str = Field(description="Name for people.")
    scopes: list[Scope] = Field(description="What the key may do.")
    collections: list[str] = Field(description="Collections that exist for the key: names and globs.")
    created_at: datetime = Field(description="Time of creation.")
    created_by: str | None = Field(description="Id of the key that made it.")
    expires_at: datetime | None = Field(description="Time from which the key counts no more; null: never.")
    last_used_at: datetime | None = Field(description="Time of the last request with it, to the minute; null: none.")
    revoked_at: datetime | None = Field(description="Time of its revocation; null: it was not revoked.")
    tenant: str | None = Field(description="Tenant whose documents alone exist for the key; null: those of all.")
    filter: dict[str, JsonValue] | None = Field(description="Filter of the documents that exist for it; null: all.")
    groups: list[str] | None = Field(description="Groups of its holder; null: it names none.")
    limits: LimitsOut = Field(description="Limits of the key.")


class NewKeyOut(KeyOut):
    key: str = Field(description="The key. It is shown this once: the node stores its SHA-256 only.")


class KeysOut(Wire):
    keys: list[KeyOut] = Field(description="Keys, ordered by id; revoked and expired ones too.")
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null on the last one.")


class AuditEntryOut(Wire):
    id: int = Field(description="Grows with every entry.")
    at: datetime = Field(description="Time of the end of the action.")
    key_id: str | None = Field(description="Id of the key; null: the node has no keys, or the request brought none.")
    address: str | None = Field(description="Address that the request came from.")
    action: str = Field(description="What was done; `request`: it was refused before that was known.")
    outcome: str = Field(description="`ok`, or the code of the error that the caller got.")
    collection: str | None = Field(description="Collection that the action concerned.")
    document_id: str | None = Field(description="Document that the action concerned.")
    subject: str | None = Field(
        description="Id of the job, file or key; method and path of a request that was refused."
    )
    token_subject: str | None = Field(
        description="Subject (`sub`) of the token that the request had, at most 255 characters; null: it had none."
    )
    count: int = Field(description="Documents of a request that ingests; refusals that the entry stands for.")


class AuditLogOut(Wire):
    entries: list[AuditEntryOut] = Field(description="Entries, the latest first.")
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null on the last one.")
