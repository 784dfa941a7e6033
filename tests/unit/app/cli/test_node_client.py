"""What the command line makes of langchain_tandem's client."""

import httpx
import pytest

from app.cli.client.node_client import Client
from langchain_tandem.client import NodeUnreachable, Overloaded, Unavailable
from tests.support.nodes.scripted_node import Answer, ScriptedNode, refusal


def client_of(monkeypatch: pytest.MonkeyPatch, *answers: Answer) -> Client:
    client = Client("http://node")
    monkeypatch.setattr(client, "_http", httpx.Client(base_url=client.url, transport=ScriptedNode(*answers).transport))
    return client


def test_whoever_asks_is_told_at_once(monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> None:
    client = client_of(monkeypatch, refusal(503, "engine_dead", "1"))
    with pytest.raises(Unavailable):
        client.search("x")
    client = client_of(monkeypatch, httpx.ConnectError("refused"))
    with pytest.raises(NodeUnreachable):
        client.ingest([{"text": "x"}])
    assert pauses == []


def test_a_full_queue_is_waited_for(monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> None:
    client = client_of(monkeypatch, refusal(429, "overloaded", "10"))
    with pytest.raises(Overloaded):
        client.ingest([{"text": "x"}])
    assert sum(pauses) == 3600
