"""tandem mcp: the tools over standard input and output, for assistants that start their servers themselves."""

import asyncio

from app.cli.client.node_client import Client
from app.mcp.backends import HttpBackend
from app.mcp.server import build_server, serve_stdio
from app.mcp.tools import Tools
from app.telemetry.logs import configure_logging


def serve_tools(client: Client, collection: str) -> None:
    """Serves until the assistant closes standard input. `collection` is used if a call names none. Only the protocol is
    written to standard output; the log goes to standard error.
    """
    configure_logging("warning", as_json=False)
    tools = Tools(HttpBackend(client), collection)
    asyncio.run(serve_stdio(build_server(lambda _: tools)))
