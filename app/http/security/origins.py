"""Checks the host names and origins of requests. A browser lets any page send requests to the user's own machine, and a
page whose host name resolves to it (DNS rebinding) can read the answers.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import HostNotAllowed, OriginNotAllowed
from app.http.server.bodies import refuse

LOOPBACK_NAME = "localhost"
READING = ("GET", "HEAD", "OPTIONS")
FROM_ELSEWHERE = ("cross-site", "same-site")
SHOWN = 80
"""Characters of a name that an error repeats."""


def is_loopback(host: str) -> bool:
    """Returns whether a host name or an address is reachable from this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == LOOPBACK_NAME or host.endswith(f".{LOOPBACK_NAME}")


def _is_unspecified(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


class OriginCheck:
    """ASGI middleware. A node without keys answers only to the names of this machine and to `allowed_hosts`, and
    refuses changes by pages of other origins. With keys a page cannot gain anything, since no browser adds them by
    itself: names are checked only if `allowed_hosts` is set.
    """

    def __init__(self, app: ASGIApp, *, allowed_hosts: Sequence[str], keyless: bool) -> None:
        """`allowed_hosts` holds names without port in lower case, `*` for any, `*.example.com` for all below."""
        self._app = app
        # 0.0.0.0 and :: are no names: a browser that is sent there reaches this machine.
        self._allowed = [each for each in allowed_hosts if not _is_unspecified(each)]
        self._keyless = keyless

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (self._keyless or self._allowed):
            headers = Headers(scope=scope)
            error = self._wrong_host(scope, headers) or (self._wrong_origin(scope, headers) if self._keyless else None)
            if error:
                await refuse(error, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _wrong_host(self, scope: Scope, headers: Headers) -> HostNotAllowed | None:
        given = headers.getlist("host")
        host = _host_of(f"//{given[0]}") if len(given) == 1 else None
        # The address that the connection came in by is no name that could have been pointed here.
        address = (scope.get("server") or ("",))[0]
        if host is not None and (host == address or self._is_ours(host)):
            return None
        shown = "none" if not given else ", ".join(given)[:SHOWN]
        return HostNotAllowed(
            f"Host: {shown!r} is not a name of this node. Add it to TANDEM_ALLOWED_HOSTS where it should be."
        )

    def _wrong_origin(self, scope: Scope, headers: Headers) -> OriginNotAllowed | None:
        if scope["method"] in READING:
            return None
        origin = headers.get("origin")
        if origin is None:
            if headers.get("sec-fetch-site") not in FROM_ELSEWHERE:
                return None
            shown = f"Sec-Fetch-Site: {headers['sec-fetch-site']}"
        else:
            host = _host_of(origin)
            if origin.partition("://")[2] == headers["host"] or (host is not None and self._is_ours(host)):
                return None
            shown = f"Origin: {origin[:SHOWN]}"
        return OriginNotAllowed(
            f"A page of another origin sent this request ({shown}). A node without keys refuses it: set "
            "TANDEM_API_KEYS, or add the page's host to TANDEM_ALLOWED_HOSTS where you trust it."
        )

    def _is_ours(self, host: str) -> bool:
        return is_loopback(host) or any(fnmatchcase(host, allowed) for allowed in self._allowed)


def _host_of(url: str) -> str | None:
    """Returns the host's name or address, in lower case and without brackets; None if there is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
    except ValueError:
        return None
    # What a name cannot hold is not guessed at: a user before the host, a path behind it, white space within it.
    return None if not parts.hostname or set(parts.netloc) & set("@ \t,") or parts.path else parts.hostname.rstrip(".")
