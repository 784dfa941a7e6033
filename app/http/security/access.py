"""Who makes a request: found out once, before a byte of its body is read, for all faces."""

from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import Unauthorized
from app.http.security.api_keys import ApiKeys
from app.http.server.bodies import refuse

PUBLIC: Final = frozenset({"/", "/docs", "/openapi.json", "/health/live", "/health/ready"})
"""Paths that are answered without a key."""
PUBLIC_ASSETS: Final = "/docs/"
"""What the documentation page loads lies below."""


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
