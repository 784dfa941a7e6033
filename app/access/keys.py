"""Stored keys and the audit log, which are an administrator's."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from app.access.caller import Caller
from app.access.trail import Trail
from app.errors import KeyNeeded
from ingestion.access.audit_log import AuditEntry, AuditFilter
from ingestion.access.keys import KeyLimits, KeyService, Scope, StoredKey
from ingestion.ports import Catalog


class KeysView:
    """The stored keys as one caller may use them. Every method raises Forbidden."""

    def __init__(self, catalog: Catalog, caller: Caller, trail: Trail) -> None:
        self._catalog = catalog
        self._keys = KeyService(catalog)
        self._caller = caller
        self._trail = trail

    async def create(
        self,
        name: str,
        *,
        scopes: Sequence[Scope],
        collections: Sequence[str],
        expires_at: datetime | None,
        limits: KeyLimits,
        tenant: str | None,
        filter: Mapping[str, object] | None,
        groups: Sequence[str] | None,
    ) -> tuple[StoredKey, str]:
        """Returns the record and the key, which is shown this once. Raises InvalidRequest, KeyNeeded."""
        async with self._trail.action("key.create") as recorded:
            self._trail.require("admin")
            if self._caller.key_id is None:
                raise KeyNeeded(
                    "This node checks no keys, because its settings hold none: everyone who reaches it has every scope "
                    "on every collection, and a stored key would restrict nobody. Set TANDEM_API_KEYS or "
                    "TANDEM_API_KEYS_FILE, and start it again."
                )
            key, secret = await self._keys.create(
                name,
                scopes=scopes,
                collections=collections,
                created_by=self._caller.key_id,
                expires_at=expires_at,
                limits=limits,
                tenant=tenant,
                filter=filter,
                groups=groups,
            )
            recorded.subject = key.id
            return key, secret

    async def rotate(self, id_: str) -> tuple[StoredKey, str]:
        """See KeyService.rotate."""
        async with self._trail.action("key.rotate", subject=id_):
            self._trail.require("admin")
            return await self._keys.rotate(id_)

    async def revoke(self, id_: str) -> None:
        """Raises KeyNotFound."""
        async with self._trail.action("key.revoke", subject=id_):
            self._trail.require("admin")
            await self._keys.revoke(id_)

    async def get(self, id_: str) -> StoredKey:
        """Raises KeyNotFound."""
        self._trail.require("admin")
        return await self._keys.get(id_)

    async def page(self, after: str | None, limit: int) -> Sequence[StoredKey]:
        self._trail.require("admin")
        return await self._keys.page(after, limit)

    async def audit_log(self, filter: AuditFilter, before: int | None, limit: int) -> Sequence[AuditEntry]:
        """Returns the latest entries first."""
        self._trail.require("admin")
        return await self._catalog.recorded(filter, before=before, limit=limit)
