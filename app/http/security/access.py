"""Who makes a request: found out once, before a byte of its body is read, for all faces."""

from typing import Final
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import Unauthorized
from app.http.security.api_keys import ApiKeys
from app.http.server.bodies import answer_unread, refuse
from app.ui.session import authorization

PUBLIC: Final = frozenset(
    {"/docs", "/openapi.json", "/health/live", "/health/ready", "/ui/login", "/ui/logout", "/ui/language"}
)
"""Paths that are answered without a key."""
PUBLIC_ASSETS: Final = ("/docs/", "/ui/static/")
"""What the pages load lies below."""
PAGE: Final = "/ui/"
LOGIN: Final = "/ui/login"


class Access:
    """ASGI middleware: puts the Caller into the request's state, or answers 401. A path is closed unless it is named
    here, so that a route that is added later is behind the keys."""

    def __init__(self, app: ASGIApp, keys: ApiKeys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_public(scope["path"]):
            headers = Headers(scope=scope)
            given = headers.get("authorization")
            is_page = _is_page(scope["path"])
            if given is None and is_page:
                given = authorization(cookie_parser(headers.get("cookie", "")))
            try:
                caller = self._keys.caller(given)
            except Unauthorized as error:
                if is_page and scope["method"] in ("GET", "HEAD"):
                    await answer_unread(_to_login(scope), scope, receive, send)
                else:
                    await refuse(error, scope, receive, send)
                return
            scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)


def is_public(path: str) -> bool:
    """Whether a path is answered without a key."""
    return path in PUBLIC or path.startswith(PUBLIC_ASSETS)


def _is_page(path: str) -> bool:
    """Whether a browser's cookie may bring the key: only to what answers with a page and checks the form's token."""
    return path == "/" or path.startswith(PAGE)


def _to_login(scope: Scope) -> RedirectResponse:
    query = scope.get("query_string", b"").decode("latin-1")
    wanted = scope["path"] + (f"?{query}" if query else "")
    return RedirectResponse(f"{scope.get('root_path', '')}{LOGIN}?next={quote(wanted, safe='')}", 303)
