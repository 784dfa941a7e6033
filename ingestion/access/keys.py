"""Stored API keys: what the catalog holds of each, and how they are made, rotated and revoked. A key itself is shown
once and never stored: the catalog has its SHA-256, by which it is found."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from secrets import token_hex, token_urlsafe
from typing import Final, Literal, Protocol, get_args

from ingestion.errors import KeyNotFound
from retrieval.errors import InvalidRequest
from retrieval.filters.groups import MAX_CALLER_GROUPS, unique, wrong_names
from retrieval.filters.parse import parse_filter
from retrieval.filters.tree import fields_of

Scope = Literal["search", "ingest", "manage", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
EVERY_COLLECTION: Final = ("*",)
KEY_PREFIX: Final = "tandem_"
"""Prefix of every stored key, so that scanners of source code recognise a committed one."""
SECRET_BYTES: Final = 32
ID_PREFIX: Final = "key_"
FILTER_FIELDS: Final = ("document_id", "media_type", "partition", "ingested_at")
"""Fields, besides metadata, that a document in the catalog has in common with its chunks in the store."""


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """Limits of one key; None: no limit of its own. Each node counts the limits per minute by itself."""

    requests_per_minute: int | None = None
    texts_per_minute: int | None = None
    """Texts that are embedded for the caller."""
    candidates_per_minute: int | None = None
    """Passages that are ranked for the caller."""
    documents: int | None = None
    """Documents in all collections of the key."""
    bytes: int | None = None
    """Size of their originals."""
    queued_jobs: int | None = None
    """Jobs of the key that have not ended."""


NO_LIMITS: Final = KeyLimits()


@dataclass(frozen=True, slots=True)
class StoredKey:
    id: str
    name: str
    """Name for people; need not be unique."""
    digest: str
    """SHA-256 of the key, 64 hexadecimal digits."""
    scopes: tuple[Scope, ...]
    collections: tuple[str, ...]
    """Names and globs (`*`, `?`) of the collections that exist for this key."""
    created_at: datetime
    created_by: str | None
    """Id of the key that made it."""
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    """Time of the last use, to the minute."""
    revoked_at: datetime | None = None
    limits: KeyLimits = NO_LIMITS
    tenant: str | None = None
    """Whose documents the key reads and writes, and no others; None: those of no tenant, and all tenants'."""
    filter: Mapping[str, object] | None = None
    """Tree of the documents that the key reads, and no others, as retrieval.filters.parse takes it; None: all."""
    groups: tuple[str, ...] | None = None
    """Groups of its holder, for collections with principals; None: it names none."""

    def ended(self, now: datetime) -> str | None:
        """The reason why the key is no longer valid; None while it is."""
        if self.revoked_at is not None:
            return "was revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return f"expired at {self.expires_at:%Y-%m-%d %H:%M} UTC"
        return None


class KeyCatalog(Protocol):
    """The part of the catalog that holds keys. Every method is one transaction; raises CatalogUnavailable."""

    async def add_key(self, key: StoredKey) -> None: ...

    async def key(self, id_: str) -> StoredKey:
        """Raises KeyNotFound."""
        ...

    async def key_with(self, digest: str) -> StoredKey | None:
        """Returns the key with this hash. Uses an index: the time does not depend on the number of keys."""
        ...

    async def keys(self, *, after: str | None = None, limit: int = 100) -> Sequence[StoredKey]:
        """Returns the keys after `after`, ordered by id, including revoked and expired ones."""
        ...

    async def set_key_digest(self, id_: str, digest: str) -> None:
        """Raises KeyNotFound, also for a revoked key."""
        ...

    async def revoke_key(self, id_: str, at: datetime) -> None:
        """Does nothing to a key that was revoked before. Raises KeyNotFound."""
        ...

    async def key_changes(self) -> int:
        """Counts the revocations and rotations so far. While it is the same, so are the rights of every digest."""
        ...

    async def touch_keys(self, ids: Collection[str], at: datetime) -> None:
        """Notes that the keys were used."""
        ...


class KeyService:
    def __init__(self, catalog: KeyCatalog) -> None:
        self._catalog = catalog

    async def create(
        self,
        name: str,
        *,
        scopes: Sequence[Scope],
        collections: Sequence[str],
        created_by: str | None,
        expires_at: datetime | None = None,
        limits: KeyLimits = NO_LIMITS,
        tenant: str | None = None,
        filter: Mapping[str, object] | None = None,
        groups: Sequence[str] | None = None,
    ) -> tuple[StoredKey, str]:
        """Returns the record and the key. Raises InvalidRequest."""
        now = datetime.now(UTC)
        if "admin" in scopes and tuple(collections) != EVERY_COLLECTION:
            raise InvalidRequest("scopes: admin concerns the whole node; such a key has all collections ('*').")
        if tenant is not None and not {"search", "ingest"}.issuperset(scopes):
            raise InvalidRequest(
                "scopes: a key of a tenant searches and ingests; manage and admin concern whole collections."
            )
        if filter is not None:
            _require_of_documents(filter, scopes)
        if groups is not None:
            _require_of_reader(groups, scopes)
        if expires_at is not None and expires_at <= now:
            raise InvalidRequest(f"expires_at: {expires_at.isoformat()} has passed; name a time in the future.")
        secret = new_secret()
        key = StoredKey(
            id=ID_PREFIX + token_hex(8),
            name=name,
            digest=digest_of_key(secret),
            scopes=tuple(scope for scope in SCOPES if scope in scopes),
            collections=tuple(dict.fromkeys(collections)),
            created_at=now,
            created_by=created_by,
            expires_at=expires_at,
            limits=limits,
            tenant=tenant,
            filter=filter,
            groups=None if groups is None else unique(groups),
        )
        await self._catalog.add_key(key)
        return key, secret

    async def rotate(self, id_: str) -> tuple[StoredKey, str]:
        """Creates a new key under the same id, with the same rights, and ends the former one. Raises KeyNotFound."""
        secret = new_secret()
        digest = digest_of_key(secret)
        await self._catalog.set_key_digest(id_, digest)
        return replace(await self._catalog.key(id_), digest=digest), secret

    async def revoke(self, id_: str) -> None:
        """Raises KeyNotFound."""
        await self._catalog.revoke_key(id_, datetime.now(UTC))

    async def get(self, id_: str) -> StoredKey:
        """Raises KeyNotFound."""
        return await self._catalog.key(id_)

    async def page(self, after: str | None, limit: int) -> Sequence[StoredKey]:
        return await self._catalog.keys(after=after, limit=limit)


def _require_of_documents(filter: Mapping[str, object], scopes: Sequence[Scope]) -> None:
    """Raises InvalidRequest for a filter that no key can have, or none with these scopes."""
    if set(scopes) != {"search"}:
        raise InvalidRequest(
            "scopes: a key with a filter has the scope search alone, since whoever writes can replace what the filter "
            "hides; create another key for writing."
        )
    for field in fields_of(parse_filter(filter, {})):
        if not field.metadata and field.name not in FILTER_FIELDS:
            raise InvalidRequest(
                f"filter: {field} differs between the chunks of a document or is found by its parser; the filter of a "
                f"key takes {', '.join(FILTER_FIELDS)} and metadata."
            )


def _require_of_reader(groups: Sequence[str], scopes: Sequence[Scope]) -> None:
    """Raises InvalidRequest for groups that no key can have, or none with these scopes."""
    if set(scopes) != {"search"}:
        raise InvalidRequest(
            "scopes: a key with groups has the scope search alone, since whoever writes decides which groups read; "
            "create another key for writing."
        )
    if wrong := wrong_names(groups, MAX_CALLER_GROUPS):
        raise InvalidRequest(f"groups: {wrong}.")


def digest_of_key(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def new_secret() -> str:
    return KEY_PREFIX + token_urlsafe(SECRET_BYTES)


def key_not_found(id_: str) -> KeyNotFound:
    return KeyNotFound(f"There is no API key {id_[:80]!r}, or it was revoked.")
