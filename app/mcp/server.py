"""The official SDK's server around the tools."""

from importlib.metadata import version
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, PaginatedRequestParams

from app.mcp.tools import INSTRUCTIONS, Tools

Context = ServerRequestContext[Any]


def build_server(tools: Tools) -> Server[Any]:
    """The SDK's low-level server: its MCPServer would set up the logging of the whole process, and put words of its own
    before our errors."""

    async def list_tools(_: Context, __: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=tools.described)

    async def call_tool(_: Context, params: CallToolRequestParams) -> CallToolResult:
        return await tools.call(params.name, params.arguments or {})

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
