"""Who makes a request: found out once, before a byte of its body is read, for all faces."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.bodies import refuse
from app.errors import Unauthorized

PUBLIC: Final = frozenset({"/", "/docs", "/openapi.json", "/health/live", "/health/ready"})
"""Paths that are answered without a key."""
PUBLIC_ASSETS: Final = "/docs/"
"""What the documentation page loads lies below."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request."""

    key_id: str | None
    """The first 12 hexadecimal digits of the key's SHA-256, for logs. None: this node has no keys."""


class ApiKeys:
    """Bearer keys, compared by hash and in constant time. Without any key every caller is let in."""

    def __init__(self, keys: Sequence[SecretStr]) -> None:
        self._hashes = [sha256(key.get_secret_value().encode()).digest() for key in keys]

    def caller(self, authorization: str | None) -> Caller:
        """Raises Unauthorized."""
        if not self._hashes:
            return Caller(None)
        scheme, _, key = (authorization or "").partition(" ")
        given = sha256(key.strip().encode()).digest()
        known = [hmac.compare_digest(given, known) for known in self._hashes]
        if scheme.lower() != "bearer" or not any(known):
            raise Unauthorized(
                "This node wants an API key: send it as 'Authorization: Bearer <key>'.",
                key_given=scheme.lower() == "bearer" and bool(key.strip()),
            )
        return Caller(given.hex()[:12])


class Access:
    """ASGI middleware: puts the Caller into the request's state, or answers 401. A path is closed unless it is named
    here, so that a route that is added later is behind the keys."""

    def __init__(self, app: ASGIApp, keys: ApiKeys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_public(scope["path"]):
            try:
                caller = self._keys.caller(Headers(scope=scope).get("authorization"))
            except Unauthorized as error:
                await refuse(error, scope, receive, send)
                return
            scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)


def _is_public(path: str) -> bool:
    return path in PUBLIC or path.startswith(PUBLIC_ASSETS)
