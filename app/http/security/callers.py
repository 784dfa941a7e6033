"""Finds the caller of an Authorization header: by the keys of the settings, and by those that the catalog stores."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Final

from cachetools import TTLCache

from app.access.caller import Caller, caller_of
from app.errors import Unauthorized
from app.http.security.api_keys import ApiKeys
from ingestion.keys import KEY_PREFIX, KeyCatalog, StoredKey, digest_of_key
from retrieval.errors import TandemError

FRESH_SECONDS: Final = 0.5
"""Maximum age of cached keys: a revoked one stops on every node within this time and a look-up."""
REMEMBERED: Final = 20_000
"""Stored keys, and refused ones, that are known at once."""
TOUCH: Final = timedelta(minutes=1)
"""Accuracy with which the last use of a key is recorded."""


class Callers:
    def __init__(
        self, fixed: ApiKeys, catalog: Callable[[], KeyCatalog], clock: Callable[[], float] = monotonic
    ) -> None:
        """`catalog` raises NotReady while there is none."""
        self._fixed = fixed
        self._catalog = catalog
        self._looks: TTLCache[str, asyncio.Task[StoredKey | None]] = TTLCache(REMEMBERED, FRESH_SECONDS, clock)
        self._touching: set[asyncio.Task[None]] = set()

    async def caller(self, authorization: str | None) -> Caller:
        """Raises Unauthorized, NotReady, CatalogUnavailable."""
        if not self._fixed.required:
            return Caller(None)
        scheme, _, rest = (authorization or "").partition(" ")
        key = rest.strip() if scheme.lower() == "bearer" else ""
        found = self._fixed.holder(key) if key else None
        if found is None and key.startswith(KEY_PREFIX):
            found = await self._stored(digest_of_key(key))
        if found is None:
            raise Unauthorized(
                "This node requires an API key: send it as 'Authorization: Bearer <key>'.", key_given=bool(key)
            )
        return found

    async def _stored(self, digest: str) -> Caller | None:
        """Raises Unauthorized for a key that has ended."""
        look = self._looks.get(digest)
        if look is None:
            # Its age counts from before the database is asked, and whoever comes meanwhile waits for the same answer.
            look = self._looks[digest] = asyncio.create_task(self._catalog().key_with(digest))
        try:
            key = await asyncio.shield(look)
        except TandemError:
            self._looks.pop(digest, None)
            raise
        if key is None:
            return None
        now = datetime.now(UTC)
        if why := key.ended(now):
            raise Unauthorized(f"This API key {why}. Ask its issuer for another one.", key_given=True)
        if key.last_used_at is None or now - key.last_used_at > TOUCH:
            self._touch(key, now)
        return caller_of(key)

    def _touch(self, key: StoredKey, now: datetime) -> None:
        """Records the use of a key in the background, without delaying the request."""

        async def touch() -> None:
            with suppress(TandemError):
                await self._catalog().touch_key(key.id, now)

        if key.id not in {task.get_name() for task in self._touching}:
            task = asyncio.create_task(touch(), name=key.id)
            self._touching.add(task)
            task.add_done_callback(self._touching.discard)
