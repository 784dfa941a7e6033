"""The MCP server, asked by the protocol's official client over streamable HTTP and over stdio, with the settings of
deploy/docs/en/mcp.md; and as n8n asks, with those of deploy/docs/en/n8n.md."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import httpx2
import pytest
import structlog
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent

from app.main import create_app
from app.settings import Settings
from retrieval.errors import EngineDead
from tests.support.docs.pages import json_blocks
from tests.support.models.fake_models import FakeEmbedder, FakeReranker
from tests.support.nodes.listening import listening
from tests.support.nodes.node import NodeUnderTest, real_but_for
from tests.support.waiting import until

CLAUDE, CURSOR, CHERRY = (block["mcpServers"]["tandem"] for block in json_blocks("mcp.md"))
STORE, SEARCH, AGENT = (block["nodes"][0]["parameters"] for block in json_blocks("n8n.md"))
KEY = CLAUDE["env"]["TANDEM_API_KEY"]
TOOLS = {"search", "ingest", "list_collections"}


@dataclass(frozen=True, slots=True)
class Node:
    url: str
    embedder: FakeEmbedder
    reranker: FakeReranker

    def at(self, address: str) -> str:
        """An address of the pages, at this node."""
        return self.url + urlsplit(address).path


@pytest.fixture(scope="module")
async def node_at_socket(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Node]:
    folder = tmp_path_factory.mktemp("mcp")
    embedder, reranker = FakeEmbedder(), FakeReranker()
    settings = Settings(data_dir=folder, selftest_margin=False, api_keys=KEY, max_body_mb=2)  # type: ignore[arg-type]
    app = create_app(settings, real_but_for(embedder, reranker, folder))
    async with listening(app) as server:
        yield Node(server.url, embedder, reranker)


@asynccontextmanager
async def over_http(node: Node, block: dict[str, Any], mode: str) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers=block["headers"], timeout=60) as http,
        Client(streamable_http_client(node.at(block["url"]), http_client=http), mode=mode) as client,
    ):
        yield client


@asynccontextmanager
async def over_stdio(node: Node, *more: str) -> AsyncIterator[Client]:
    assert Path(CLAUDE["command"]).name == "tandem"
    arguments = [node.url if each.startswith("http") else each for each in CLAUDE["args"]]
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "app.cli.main", *arguments, *more],
        env={**CLAUDE["env"], "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    async with Client(server) as client:
        yield client


@pytest.fixture(scope="module", params=["cursor", "cherry studio", "claude desktop"])
async def client(node_at_socket: Node, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """By streamable HTTP of 2026 and of the years before, and by stdio."""
    ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()

    async def hold() -> None:
        # The client's cancel scopes want to be left in the task that entered them; fixtures end in another one.
        opened = {
            "cursor": lambda: over_http(node_at_socket, CURSOR, "auto"),
            "cherry studio": lambda: over_http(node_at_socket, CHERRY, "legacy"),
            "claude desktop": lambda: over_stdio(node_at_socket),
        }[request.param]()
        async with opened as client:
            ready.set_result(client)
            await done.wait()

    holding = asyncio.create_task(hold())
    await asyncio.wait([holding, ready], return_when=asyncio.FIRST_COMPLETED)
    if holding.done():
        holding.result()
    yield ready.result()
    done.set()
    await holding


def text_of(result: CallToolResult) -> str:
    [content] = result.content
    assert isinstance(content, TextContent)
    return content.text


async def called(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, text_of(result)
    assert result.structured_content is not None
    return result.structured_content


async def test_tools_are_described_for_a_model(client: Client) -> None:
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert tools.keys() == TOOLS
    for tool in tools.values():
        assert len(tool.description or "") > 80
        assert tool.output_schema is not None
        assert "$ref" not in json.dumps(tool.input_schema)  # not every client resolves them
        assert all("description" in each for each in tool.input_schema["properties"].values())
    assert tools["search"].input_schema["properties"]["collection"]["default"] == "docs"
    assert [name for name, tool in tools.items() if not tool.annotations.read_only_hint] == ["ingest"]  # type: ignore[union-attr]


async def test_what_is_stored_is_found(client: Client) -> None:
    document = {"text": "The kiln is held at 1280 degrees.", "id": "kiln", "title": "Kilns", "metadata": {"year": 2025}}
    stored = await called(client, "ingest", **document)
    assert stored["document_id"] == "kiln"
    assert (stored["searchable"], stored["chunks"], stored["error"]) == (True, 1, None)
    result = await client.call_tool("search", {"query": "How hot is the kiln?", "top_k": 1})
    found = result.structured_content
    assert found is not None
    assert (found["reranked"], found["notes"], found["score_name"]) == (True, [], "rerank")
    [passage] = found["passages"]
    assert passage.items() >= {"text": document["text"], "title": "Kilns", "document_id": "kiln"}.items()
    assert passage["metadata"] == {"year": 2025}
    assert f"[1] Kilns (document kiln, rerank {passage['score']:.3f})\n{document['text']}" == text_of(result)


async def test_filters_and_objects_sent_as_text(client: Client) -> None:
    await called(client, "ingest", text="Old glaze.", id="old", metadata='{"year": 1999}')
    condition = {"type": "eq", "key": "metadata.year", "value": 1999}
    for sent in (condition, json.dumps(condition)):
        found = await called(client, "search", query="glaze", filter=sent)
        assert [each["document_id"] for each in found["passages"]] == ["old"]


async def test_collections_are_named(client: Client) -> None:
    found = await called(client, "list_collections")
    assert [each["name"] for each in found["collections"]] == ["docs"]


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("search", {"query": "x", "collection": "nowhere"}, "nowhere"),
        ("search", {"query": " "}, "query: is empty"),
        ("search", {"query": "x", "top_k": 21}, "top_k: "),
        ("search", {"query": "x", "limit": 3}, "limit: there is no such field"),
        ("search", {"query": "x", "filter": {"type": "like"}}, "filter.type: must be one of"),
        ("search", {"query": "x" * 4001}, "query: "),
        ("ingest", {"text": "x", "collection": "nowhere"}, "nowhere"),
        ("ingest", {"text": "x" * 1_000_001}, "text: "),
        ("ingest", {"text": "x", "metadata": "no object"}, "metadata: "),
        ("forget", {}, "the tools are search, ingest, list_collections"),
    ],
)
async def test_mistakes_are_answers(client: Client, tool: str, arguments: dict[str, Any], message: str) -> None:
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert message in text_of(result)


async def test_missing_reranking_and_failures_are_told(
    client: Client, node_at_socket: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await called(client, "ingest", text="The kiln is held at 1280 degrees.", id="kiln")
    with monkeypatch.context() as patched:
        patched.setattr(node_at_socket.reranker, "fail_with", EngineDead("gone"))
        result = await client.call_tool("search", {"query": "kiln"})
        assert result.structured_content is not None
        assert result.structured_content["reranked"] is False
        assert "Note: The passages were not reranked (engine_dead)" in text_of(result)


async def test_the_command_stores_where_it_is_told(node_at_socket: Node) -> None:
    async with httpx.AsyncClient(base_url=node_at_socket.url, headers=CURSOR["headers"]) as http:
        assert (await http.post("/collections", json={"name": "notes"})).status_code == 201
        async with over_stdio(node_at_socket, "--collection", "notes") as client:
            assert (await called(client, "ingest", text="A note.", id="n"))["collection"] == "notes"
            tools = (await client.list_tools()).tools
            assert {tool.input_schema["properties"].get("collection", {}).get("default") for tool in tools} == {
                "notes",
                None,
            }
        assert (await http.delete("/collections/notes")).status_code == 204


async def test_a_command_without_a_node_says_what_to_do(node_at_socket: Node) -> None:
    async with over_stdio(node_at_socket, "--url", "http://127.0.0.1:9") as client:
        result = await client.call_tool("list_collections", {})
    assert result.is_error
    assert "No answer from http://127.0.0.1:9" in text_of(result)


async def test_a_key_is_asked_for(node_at_socket: Node) -> None:
    async with httpx.AsyncClient(base_url=node_at_socket.url) as http:
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            answer = await http.post("/mcp", headers=headers, json={})
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")


async def test_n8n_stores_and_searches(node_at_socket: Node) -> None:
    item = {
        "id": "n8n",
        "title": 'A "quoted" title',
        "text": 'Lanterns\nhang "there".',
        "question": 'Which "lanterns"?',
    }

    def evaluated(expression: str) -> str:
        assert expression.startswith("=")
        return re.sub(
            r"\{\{ JSON\.stringify\(\$json\.(\w+)\) \}\}", lambda found: json.dumps(item[found[1]]), expression[1:]
        )

    async with httpx.AsyncClient(timeout=60) as http:
        answers = []
        for node in (STORE, SEARCH):
            assert node["sendBody"]
            assert (node["specifyBody"], node["genericAuthType"]) == ("json", "httpBearerAuth")
            headers = {
                "accept": "application/json,text/html,application/xhtml+xml,application/xml,text/*;q=0.9, "
                "image/*;q=0.8, */*;q=0.7",
                "content-type": "application/json",
                "user-agent": "n8n",
                "authorization": f"Bearer {KEY}",
            }
            content = evaluated(node["jsonBody"])
            answers.append(
                await http.request(node["method"], node_at_socket.at(node["url"]), headers=headers, content=content)
            )
    stored, found = answers
    assert stored.json()["state"] == "succeeded"
    first = found.json()["hits"][0]
    assert (first["document_id"], first["title"]) == ("n8n", 'A "quoted" title')


async def test_n8n_s_agent_calls_tools(node_at_socket: Node) -> None:
    """The messages of the TypeScript SDK's client, which n8n uses: a handshake, a stream that may be refused, calls."""
    assert (AGENT["serverTransport"], AGENT["authentication"]) == ("httpStreamable", "bearerAuth")
    assert set(AGENT["includeTools"]) <= TOOLS
    headers = {"Authorization": f"Bearer {KEY}", "Accept": "application/json, text/event-stream"}
    url = node_at_socket.at(AGENT["endpointUrl"])
    async with httpx.AsyncClient(headers=headers, timeout=60) as http:

        async def send(method: str, number: int | None = None, **params: Any) -> httpx.Response:
            message = {"jsonrpc": "2.0", "method": method, "params": params}
            return await http.post(url, json=message if number is None else message | {"id": number})

        hello = await send(
            "initialize",
            0,
            protocolVersion="2025-06-18",
            capabilities={"tools": {}},
            clientInfo={"name": "@n8n/n8n-nodes-langchain.mcpClientTool", "version": "1.1"},
        )
        assert hello.json()["result"]["protocolVersion"] == "2025-06-18"
        assert "mcp-session-id" not in hello.headers
        http.headers["mcp-protocol-version"] = "2025-06-18"
        assert (await send("notifications/initialized")).status_code == 202
        assert (await http.get(url, headers={"Accept": "text/event-stream"})).status_code == 405
        listed = (await send("tools/list", 1)).json()["result"]["tools"]
        assert {tool["name"] for tool in listed} == TOOLS
        called = await send("tools/call", 2, name="search", arguments={"query": "lanterns"})
        assert called.json()["result"]["structuredContent"].keys() >= {"passages", "notes"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "127.0.0.1:8080"}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "[::1]:8080", "Origin": "http://localhost:6274"}, 200),
        ({"Host": "attacker.example:8080"}, 421),
        ({"Host": "127.0.0.1:8080", "Origin": "http://attacker.example"}, 403),
    ],
)
async def test_a_keyless_loopback_node_answers_to_its_own_names(
    node: NodeUnderTest, headers: dict[str, str], status: int
) -> None:
    accept = {"Accept": "application/json, text/event-stream"}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    assert (await node.http.post("/mcp", headers=accept | headers, json=message)).status_code == status


@pytest.mark.parametrize("content", [b"{", b"[]", b"null", b"\xff", b'{"jsonrpc": "2.0", "id": 1, "method": "x"}', b""])
async def test_broken_messages_are_no_crash(node_at_socket: Node, content: bytes) -> None:
    headers = {**CURSOR["headers"], "Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    async with httpx.AsyncClient(base_url=node_at_socket.url) as http:
        for version in ({}, {"mcp-protocol-version": "2026-07-28"}):
            answer = await http.post("/mcp", content=content, headers=headers | version)
            assert 200 <= answer.status_code < 500, answer.text


async def test_a_caller_who_leaves_ends_the_search(node_at_socket: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    reached, ended = asyncio.Event(), asyncio.Event()

    async def rerank(*_: object, **__: object) -> None:
        reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    monkeypatch.setattr(node_at_socket.reranker, "rerank", rerank)
    headers = {**CURSOR["headers"], "Accept": "application/json, text/event-stream"}
    params = {"name": "search", "arguments": {"query": "kiln"}}
    async with httpx.AsyncClient(base_url=node_at_socket.url, headers=headers) as http:
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        asking = asyncio.create_task(http.post("/mcp", json=message))
        await asyncio.wait_for(reached.wait(), 10)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    await until(ended.is_set)


async def test_calls_are_logged_with_the_id_of_their_request(node: NodeUnderTest) -> None:
    logs: list[structlog.typing.EventDict] = []

    def kept(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        logs.append(event)
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, kept])
    headers = {"Accept": "application/json, text/event-stream", "X-Request-ID": "of-this-call", "Host": "localhost"}
    params = {"name": "search", "arguments": {"query": "what somebody asks", "collection": "nowhere"}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    try:
        answer = await node.http.post("/mcp", headers=headers, json=message)
    finally:
        structlog.configure(**before)
    assert answer.json()["result"]["isError"]
    [call] = [each for each in logs if each["event"] == "tool call"]
    assert (call["tool"], call["outcome"], call["request_id"]) == ("search", "collection_not_found", "of-this-call")
    assert "somebody" not in repr(logs)
    told = (await node.http.get("/metrics")).text
    assert 'tandem_mcp_calls_total{outcome="collection_not_found",tool="search"}' in told
    assert 'tandem_http_requests_total{route="/mcp",status="200"}' in told
