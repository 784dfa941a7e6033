"""The session of a page: the API key that was entered, kept in a cookie, and the token that every change carries."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from hashlib import sha256
from typing import Final

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from app.errors import OriginNotAllowed

COOKIE: Final = "tandem_key"
CSRF_FIELD: Final = "csrf"
"""Name of the form's field and, with `X-`, of the header."""
SECONDS: Final = 12 * 3600
MAX_KEY_CHARACTERS: Final = 1024
SAME_SITE: Final = ("same-origin", "none")


def authorization(cookies: dict[str, str]) -> str | None:
    """Returns the header that the cookie stands for; None if no cookie holds a key."""
    held = cookies.get(COOKIE)
    if not held:
        return None
    try:
        return f"Bearer {urlsafe_b64decode(held.encode()).decode()}"
    except (Error, ValueError):
        return None


def sign_in(response: Response, request: Request, key: str) -> None:
    """Keeps `key` in a cookie that scripts cannot read and that no other site's page makes the browser send."""
    response.set_cookie(
        COOKIE,
        urlsafe_b64encode(key.encode()).decode(),
        max_age=SECONDS,
        path=_path(request),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def sign_out(response: Response, request: Request) -> None:
    response.delete_cookie(COOKIE, path=_path(request))


def token_of(secret: bytes, request: Request) -> str:
    """Returns the token of this session, which only a page of this node can know. `secret` is the installation's."""
    return hmac.new(secret, request.cookies.get(COOKIE, "").encode(), sha256).hexdigest()


def check_origin(request: Request) -> None:
    """Raises OriginNotAllowed for a change that a page of another origin sends."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    foreign = origin is not None and origin.partition("://")[2] != request.headers.get("host")
    if (site is not None and site not in SAME_SITE) or foreign:
        raise OriginNotAllowed("A page of another origin sent this form. Open this node's own page and repeat it.")


def check_token(secret: bytes, request: Request, form: FormData) -> None:
    """Raises OriginNotAllowed for a change without the session's token."""
    given = form.get(CSRF_FIELD) or request.headers.get(f"x-{CSRF_FIELD}") or ""
    if not isinstance(given, str) or not hmac.compare_digest(given.encode(), token_of(secret, request).encode()):
        raise OriginNotAllowed("The page has expired: load it again, then repeat what you did.")


def _path(request: Request) -> str:
    return request.scope.get("root_path", "") or "/"
