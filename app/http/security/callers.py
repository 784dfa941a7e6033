"""Finds the caller of an Authorization header: by the keys of the settings, and by those that the catalog stores."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Final

from cachetools import TTLCache

from app.access.caller import Caller, Token, caller_of
from app.errors import Unauthorized
from app.http.security.api_keys import ApiKeys
from app.http.security.tokens import Tokens, looks_like_token
from ingestion.access.keys import KEY_PREFIX, KeyCatalog, StoredKey, digest_of_key
from ingestion.errors import KeyNotFound
from retrieval.errors import TandemError

FRESH_SECONDS: Final = 0.75
"""A request waits for the count of changes if the last one is older: a revoked key stops on every node within this time
and the time that the count takes.
"""
ASK_SECONDS: Final = 0.25
"""Age from which requests have the changes counted, without waiting."""
KEPT_SECONDS: Final = 600.0
"""A key that did not change is looked up again after this time."""
REFUSED_SECONDS: Final = 0.5
"""How long a key that is not stored is refused without a look-up."""
REMEMBERED: Final = 20_000
"""Stored keys that are known at once, and as many refused ones."""
TOUCH: Final = timedelta(minutes=1)
"""Accuracy with which the last use of a key is recorded."""


Read = Callable[[], Coroutine[None, None, StoredKey | None]]


class Callers:
    """Knows the stored keys that were used lately. One count of all changes, several times a second while requests
    come, says that none of them was revoked or rotated; after a change all are looked up again.
    """

    def __init__(
        self,
        fixed: ApiKeys,
        catalog: Callable[[], KeyCatalog],
        clock: Callable[[], float] = monotonic,
        *,
        tokens: Tokens | None = None,
        token_key: str | None = None,
    ) -> None:
        """`catalog` raises NotReady while there is none. `token_key` is the id of the stored key whose rights a token
        has that is sent in place of a key; None: a token is no key.
        """
        self._fixed = fixed
        self._catalog = catalog
        self._tokens = tokens
        self._token_key = token_key
        self._clock = clock
        self._looks: TTLCache[str, asyncio.Task[StoredKey | None]] = TTLCache(REMEMBERED, KEPT_SECONDS, clock)
        self._refused: TTLCache[str, None] = TTLCache(REMEMBERED, REFUSED_SECONDS, clock)
        self._changes: int | None = None
        self._counted_at = float("-inf")
        self._counting: asyncio.Task[None] | None = None
        self._touched: TTLCache[str, None] = TTLCache(REMEMBERED, TOUCH.total_seconds(), clock)
        self._used: set[str] = set()
        self._touching: asyncio.Task[None] | None = None

    async def caller(self, authorization: str | None, token: str | None = None) -> Caller:
        """`token` says on whose behalf the key is used. A token that is sent is verified, whether or not the request
        needs it. Raises Unauthorized, NotReady, CatalogUnavailable.
        """
        if token is not None and self._tokens is None:
            raise Unauthorized("This node accepts no tokens (TANDEM_TOKEN_ISSUER).", key_given=False)
        verified = self._tokens.verify(token) if token is not None and self._tokens else None
        if not self._fixed.required:
            return Caller(None, token_subject=verified.subject if verified else None)
        scheme, _, rest = (authorization or "").partition(" ")
        key = rest.strip() if scheme.lower() == "bearer" else ""
        found = self._fixed.holder(key) if key else None
        if found is None and key.startswith(KEY_PREFIX):
            found = await self._stored(digest_of_key(key))
        if found is None and self._tokens and self._token_key and looks_like_token(key):
            found = await self._bearer_of(self._tokens.verify(key), self._token_key)
        if found is None:
            raise Unauthorized(
                "This node requires an API key: send it as 'Authorization: Bearer <key>'.", key_given=bool(key)
            )
        return found if verified is None else found.with_token(verified)

    async def _bearer_of(self, token: Token, key_id: str) -> Caller:
        """Raises Unauthorized where the key of TANDEM_TOKEN_KEY is none."""

        async def named() -> StoredKey | None:
            with suppress(KeyNotFound):
                return await self._catalog().key(key_id)
            return None

        caller = await self._looked_up(f"id {key_id}", named)
        if caller is None:
            raise Unauthorized("TANDEM_TOKEN_KEY names no stored key, so that tokens are no keys.", key_given=True)
        return caller.with_token(token)

    async def _stored(self, digest: str) -> Caller | None:
        """Raises Unauthorized for a key that has ended."""
        return await self._looked_up(digest, lambda: self._catalog().key_with(digest))

    async def _looked_up(
        self, digest: str, read: Callable[[], Coroutine[None, None, StoredKey | None]]
    ) -> Caller | None:
        """`digest` is what the key is remembered by. Raises Unauthorized for a key that has ended."""
        if digest in self._refused:
            return None
        await self._forget_changed()
        look = self._looks.get(digest)
        if look is None:
            # Kept before the database is asked: whoever comes meanwhile waits for the same answer, and a change that is
            # counted meanwhile drops it.
            look = self._looks[digest] = asyncio.create_task(read())
        try:
            key = look.result() if look.done() else await asyncio.shield(look)
        except TandemError:
            self._looks.pop(digest, None)
            raise
        if key is None:
            self._looks.pop(digest, None)
            self._refused[digest] = None
            return None
        now = datetime.now(UTC)
        if why := key.ended(now):
            raise Unauthorized(f"This API key {why}. Ask its issuer for another one.", key_given=True)
        if key.id not in self._touched and (key.last_used_at is None or now - key.last_used_at > TOUCH):
            self._touched[key.id] = None
            self._touch(key.id)
        return caller_of(key)

    async def _forget_changed(self) -> None:
        """Forgets all keys if one was revoked or rotated. Raises NotReady, CatalogUnavailable."""
        age = self._clock() - self._counted_at
        if age < ASK_SECONDS:
            return
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(self._count())
            # Read, so that asyncio does not report what nobody waited for; the next count meets it again.
            self._counting.add_done_callback(lambda task: task.cancelled() or task.exception())
        if age >= FRESH_SECONDS:
            await asyncio.shield(self._counting)

    async def _count(self) -> None:
        # The age of a count is from before the database is asked.
        asked_at = self._clock()
        changes = await self._catalog().key_changes()
        if changes != self._changes:
            self._looks.clear()
            self._changes = changes
        self._counted_at = asked_at

    def _touch(self, id_: str) -> None:
        """Records the use of a key in the background, without delaying the request; of many keys in one write."""

        async def touch() -> None:
            while self._used:
                used, self._used = self._used, set()
                with suppress(TandemError):
                    await self._catalog().touch_keys(used, datetime.now(UTC))

        self._used.add(id_)
        if self._touching is None or self._touching.done():
            self._touching = asyncio.create_task(touch())
