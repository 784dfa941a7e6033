"""Identifies the caller of a request once for all interfaces, before its body is read."""

from typing import Final
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access.caller import Caller
from app.access.limits import RateLimits
from app.access.trail import Recorder, Trail
from app.errors import LimitReached, Unauthorized
from app.http.security.callers import Callers
from app.http.security.tokens import HEADER
from app.http.server.bodies import answer_unread, refuse
from app.settings import Settings
from app.telemetry.metrics import Metrics
from app.ui.session import authorization
from retrieval.errors import TandemError

PUBLIC: Final = frozenset({"/health/live", "/health/ready", "/ui/login", "/ui/logout", "/ui/language"})
"""Paths that are answered without a key, whatever the settings."""
DOCS: Final = frozenset({"/docs", "/openapi.json"})
METRICS: Final = "/metrics"
PUBLIC_ASSETS: Final = ("/docs/", "/ui/static/")
"""Path of the files that pages load."""
PAGE: Final = "/ui/"
LOGIN: Final = "/ui/login"


class Access:
    """ASGI middleware: puts the Caller into the request's state, or answers 401. Every path needs a key unless it is
    listed here, so that a new route is protected by default.
    """

    def __init__(
        self,
        app: ASGIApp,
        callers: Callers,
        recorder: Recorder,
        rates: RateLimits,
        metrics: Metrics,
        public: frozenset[str],
    ) -> None:
        """`public` holds paths that are answered without a key."""
        self._app = app
        self._callers = callers
        self._recorder = recorder
        self._rates = rates
        self._metrics = metrics
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_public(scope["path"], self._public):
            headers = Headers(scope=scope)
            given = headers.get("authorization")
            is_page = _is_page(scope["path"])
            if given is None and is_page:
                given = authorization(cookie_parser(headers.get("cookie", "")))
            try:
                tokens = headers.getlist(HEADER)
                caller = await self._callers.caller(given, ", ".join(tokens) if tokens else None)
            except TandemError as error:
                if isinstance(error, Unauthorized):
                    client = scope.get("client")
                    address, request = client[0] if client else None, f"{scope['method']} {scope['path']}"
                    Trail(self._recorder, Caller(None), address=address, request=request).refused(error.code)
                if isinstance(error, Unauthorized) and is_page and scope["method"] in ("GET", "HEAD"):
                    await answer_unread(_to_login(scope), scope, receive, send)
                else:
                    await refuse(error, scope, receive, send)
                return
            if caller.key_id is not None:
                self._metrics.count_key(caller.key_id)
            try:
                self._rates.take(caller, "requests")
            except LimitReached as error:
                await refuse(error, scope, receive, self._with_limits(caller, send))
                return
            scope.setdefault("state", {})["caller"] = caller
            if caller.limits.requests_per_minute is not None:
                send = self._with_limits(caller, send)
        await self._app(scope, receive, send)

    def _with_limits(self, caller: Caller, send: Send) -> Send:
        async def with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._rates.headers(caller))
            await send(message)

        return with_limits


def public_paths(settings: Settings) -> frozenset[str]:
    """Paths that are answered without a key, by the settings."""
    metrics = {METRICS} if settings.public_metrics else set()
    return PUBLIC | (DOCS if settings.public_docs else set()) | metrics


def is_public(path: str, public: frozenset[str]) -> bool:
    """Returns whether a path is answered without a key."""
    return path in public or path.startswith(PUBLIC_ASSETS)


def _is_page(path: str) -> bool:
    """Returns whether a browser's cookie may carry the key: only for pages, whose forms check the session's token."""
    return path == "/" or path.startswith(PAGE) or path in DOCS


def _to_login(scope: Scope) -> RedirectResponse:
    query = scope.get("query_string", b"").decode("latin-1")
    wanted = scope["path"] + (f"?{query}" if query else "")
    return RedirectResponse(f"{scope.get('root_path', '')}{LOGIN}?next={quote(wanted, safe='')}", 303)
