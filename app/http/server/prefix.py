"""The path below which a proxy offers this node."""

import re
from collections.abc import Sequence
from ipaddress import ip_address, ip_network

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

HEADER = "x-forwarded-prefix"
PREFIX = re.compile(r"(/[A-Za-z0-9._~-]{1,64}){1,8}")


class ForwardedPrefix:
    """ASGI middleware: a trusted proxy's X-Forwarded-Prefix becomes the root path. The path is what the proxy sends,
    without the prefix. Has to see the connection's own address."""

    def __init__(self, app: ASGIApp, trusted: Sequence[str]) -> None:
        """`trusted`: addresses and networks."""
        self._app = app
        self._trusted = [ip_network(each, strict=False) for each in trusted]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._is_trusted(scope):
            prefix = Headers(scope=scope).get(HEADER, "").rstrip("/")
            if PREFIX.fullmatch(prefix):
                scope["root_path"] = prefix
        await self._app(scope, receive, send)

    def _is_trusted(self, scope: Scope) -> bool:
        try:
            address = ip_address((scope.get("client") or ("",))[0])
        except ValueError:
            return False
        return any(address in network for network in self._trusted)


class PathBelowRoot:
    """ASGI middleware: the path begins with the root path, as routing wants it. What lies before it in the application
    sees the paths of this node alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if root := scope.get("root_path", ""):
            scope["path"] = root + scope["path"]
            scope["raw_path"] = root.encode() + scope.get("raw_path", b"")
        await self._app(scope, receive, send)
