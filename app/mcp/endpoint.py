"""The protocol over streamable HTTP: one request, one JSON answer, and no sessions, so that any node behind a balancer
can answer any request."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request, Response
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import Message

from app.limits import LOOPBACK
from app.routes.callers import unless_gone


def host_checks(host: str, *, keys: bool) -> TransportSecuritySettings:
    """Against web pages that reach a node on the user's machine under a name of their own (DNS rebinding): a node that
    listens on the loopback address alone and asks for no key answers to the names of this machine alone. With keys
    there is nothing to gain, for no browser adds them by itself; a node on the network cannot know its names."""
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=host in LOOPBACK and not keys,
        allowed_hosts=["127.0.0.1", "127.0.0.1:*", "localhost", "localhost:*", "[::1]", "[::1]:*"],
        allowed_origins=["http://127.0.0.1:*", "http://localhost:*", "http://[::1]:*"],
    )


class McpEndpoint:
    def __init__(self, server: Server[Any], checks: TransportSecuritySettings, max_body_bytes: int) -> None:
        self._manager = StreamableHTTPSessionManager(
            server,
            json_response=True,
            stateless=True,
            security_settings=checks,
            max_request_body_size=max_body_bytes,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator["McpEndpoint"]:
        """Once in the life of an endpoint."""
        up, down = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            try:
                async with self._manager.run():
                    up.set()
                    await down.wait()
            finally:
                up.set()

        # A task of its own, for the one that begins a lifespan need not be the one that ends it, and the manager's task
        # group has to be left by the task that entered it.
        holding = asyncio.create_task(hold())
        await up.wait()
        try:
            yield self
        finally:
            down.set()
            await holding

    async def answer(self, request: Request) -> Response:
        """Cancels the work where the caller hangs up. Raises CallerGone."""
        body = await request.body()
        return await unless_gone(request, self._answer(request, body))

    async def _answer(self, request: Request, body: bytes) -> Response:
        unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[Message] = []

        async def receive() -> Message:
            if not unread:
                await asyncio.Event().wait()  # whoever waits for the caller to hang up is cancelled in time
            return unread.pop()

        async def send(message: Message) -> None:
            sent.append(message)

        await self._manager.handle_request(request.scope, receive, send)
        start = next(message for message in sent if message["type"] == "http.response.start")
        response = Response(b"".join(message.get("body", b"") for message in sent), start["status"])
        response.raw_headers = [*start["headers"]]
        return response
