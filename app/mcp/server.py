"""The tools on the official SDK's server: over standard input and output, and over streamable HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import Request, Response
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, PaginatedRequestParams
from starlette.types import Message

from app.http.disconnect import cancel_on_disconnect
from app.mcp.tools import INSTRUCTIONS, Tools

Context = ServerRequestContext[Any]


def build_server(tools_for: Callable[[Context], Tools]) -> Server[Any]:
    """Returns the SDK's low-level server: its MCPServer would configure the logging of the whole process, and prefix
    our errors with texts of its own. `tools_for` returns the tools of the request's caller.
    """

    async def list_tools(context: Context, _: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=tools_for(context).described)

    async def call_tool(context: Context, params: CallToolRequestParams) -> CallToolResult:
        return await tools_for(context).call(params.name, params.arguments or {})

    return Server(
        "tandem",
        title="Tandem",
        version=version("tandem-rag"),
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def serve_stdio(server: Server[Any]) -> None:
    """Speaks the protocol on standard input and output until the client closes them."""
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


class McpEndpoint:
    """The protocol over streamable HTTP: one request, one JSON answer, and no sessions, so that any node behind a
    balancer can answer any request."""

    def __init__(self, server: Server[Any], max_body_bytes: int) -> None:
        self._manager = StreamableHTTPSessionManager(
            server,
            json_response=True,
            stateless=True,
            # Names and origins were checked before routing (app.http.security.origins).
            security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
            max_request_body_size=max_body_bytes,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator["McpEndpoint"]:
        """Runs the endpoint. Use it once per endpoint."""
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
        """Answers a request. Cancels the work if the caller disconnects. Raises CallerDisconnected."""
        body = await request.body()
        return await cancel_on_disconnect(request, self._answer(request, body))

    async def _answer(self, request: Request, body: bytes) -> Response:
        unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[Message] = []

        async def receive() -> Message:
            if not unread:
                await asyncio.Event().wait()  # the task that waits for a disconnect is cancelled in time
            return unread.pop()

        async def send(message: Message) -> None:
            sent.append(message)

        await self._manager.handle_request(request.scope, receive, send)
        start = next(message for message in sent if message["type"] == "http.response.start")
        response = Response(b"".join(message.get("body", b"") for message in sent), start["status"])
        response.raw_headers = [*start["headers"]]
        return response
