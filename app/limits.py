"""Bounds on what comes in: body size, searches under way, and who may ask at all."""

import hmac
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import Unauthorized
from app.tags import shape_at
from ingestion.errors import Overloaded, TooLarge

LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Hosts that are reached from this machine alone."""


class BodyLimit:
    """ASGI middleware: 413 as soon as a body is known to be too large, without reading it all."""

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self._app = app
        self._limit = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and int(declared) > self._limit:
            await shape_at(scope).response(self._error())(scope, receive, send)
            return
        received = 0
        started = False

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit:
                raise self._error()
            return message

        async def unless_too_large(message: Message) -> None:
            nonlocal started
            # Whatever the application makes of the broken-off body, the answer is 413.
            if received <= self._limit or started:
                started = True
                await send(message)

        try:
            await self._app(scope, counted, unless_too_large)
        except TooLarge:
            if received <= self._limit:
                raise
        if received > self._limit and not started:
            await shape_at(scope).response(self._error())(scope, receive, send)

    def _error(self) -> TooLarge:
        return TooLarge(
            f"The body is larger than {self._limit:,} bytes (TANDEM_MAX_BODY_MB). Send fewer documents at a time.",
            limit=self._limit,
        )


class ApiKeys:
    """Bearer keys, compared by hash and in constant time. Without any key every caller is let in."""

    def __init__(self, keys: Sequence[SecretStr]) -> None:
        self._hashes = [sha256(key.get_secret_value().encode()).digest() for key in keys]

    def check(self, authorization: str | None) -> None:
        """Raises Unauthorized."""
        if not self._hashes:
            return
        scheme, _, key = (authorization or "").partition(" ")
        given = sha256(key.strip().encode()).digest()
        known = [hmac.compare_digest(given, known) for known in self._hashes]
        if scheme.lower() != "bearer" or not any(known):
            raise Unauthorized(
                "This node wants an API key: send it as 'Authorization: Bearer <key>'.",
                key_given=scheme.lower() == "bearer" and bool(key.strip()),
            )


class Admission:
    """Bounds the work that requests have under way, counted in `what` they bring."""

    def __init__(self, capacity: int, what: str) -> None:
        self._capacity = capacity
        self._what = what
        self._used = 0

    @asynccontextmanager
    async def admit(self, count: int) -> AsyncIterator[None]:
        """Raises Overloaded where `count` more would pass the bound; a single request always fits an idle node."""
        if self._used and self._used + count > self._capacity:
            raise Overloaded(
                f"{self._used} {self._what} are under way; {count} more would pass the bound of {self._capacity}. "
                f"Try again shortly, or with fewer {self._what}.",
                retry_after_s=1,
            )
        self._used += count
        try:
            yield
        finally:
            self._used -= count
