"""The Model Context Protocol at /mcp."""

from fastapi import APIRouter, Request, Response

from app.mcp.server import McpEndpoint

router = APIRouter(tags=["mcp"], include_in_schema=False)


@router.post("/mcp")
async def mcp(request: Request) -> Response:
    """Handles one message of the protocol. There are no sessions and no streams: GET and DELETE are answered with
    405."""
    endpoint = request.app.state.mcp
    assert isinstance(endpoint, McpEndpoint)
    return await endpoint.answer(request)
