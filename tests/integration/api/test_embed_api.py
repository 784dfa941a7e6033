"""POST /embed as it is on the wire."""

from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest

from retrieval.errors import EngineDead
from retrieval.types import Lane
from tests.support.nodes.node import NodeUnderTest, running

QUESTION = {"texts": ["how hot is the kiln", ""], "kind": "query", "lane": "interactive", "instruction": "Find kilns"}


async def test_vectors_are_those_of_the_embedder(node: NodeUnderTest) -> None:
    answer = await node.http.post("/embed", json=QUESTION)
    assert answer.status_code == 200, answer.text
    expected = await node.embedder.embed(
        ["how hot is the kiln", ""], kind="query", lane=Lane.INTERACTIVE, instruction="Find kilns"
    )
    said = answer.json()
    vectors = np.frombuffer(b64decode(said["vectors"]), dtype="<f4").reshape(2, -1)
    assert (vectors == expected.vectors).all()
    assert (tuple(said["tokens"]), tuple(said["truncated_tokens"])) == (expected.tokens, expected.truncated_tokens)
    assert said["fingerprint"]["digest"] == node.embedder.fingerprint.digest
    described = (await node.http.get("/embed")).json()
    assert (described["fingerprint"], described["max_tokens"]) == (said["fingerprint"], node.embedder.max_tokens)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"texts": []}, "invalid_request"),
        ({"texts": ["a"] * 257}, "invalid_request"),
        ({"kind": "passage"}, "invalid_request"),
        ({"lane": "fast"}, "invalid_request"),
        ({"model": "x"}, "invalid_request"),
        ({"texts": ["a" * 3_000_000]}, "too_large"),
    ],
)
async def test_what_is_not_taken(node: NodeUnderTest, change: dict[str, object], code: str) -> None:
    answer = await node.http.post("/embed", json=QUESTION | change)
    assert answer.json()["error"]["code"] == code


async def test_lone_surrogates_are_invalid_text(node: NodeUnderTest) -> None:
    body = b'{"texts": ["\\ud800"], "kind": "document"}'
    answer = await node.http.post("/embed", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_text")


async def test_keys_hold_and_a_dead_engine_is_told(tmp_path: Path) -> None:
    async with running(tmp_path, api_keys="right", workers=0, max_texts_in_flight=1) as node:
        for method, body in (("GET", None), ("POST", QUESTION)):
            assert (await node.http.request(method, "/embed", json=body)).status_code == 401
        node.http.headers["Authorization"] = "Bearer right"
        assert (await node.http.post("/embed", json=QUESTION)).status_code == 200
        node.embedder.fail_with = EngineDead("gone")
        for method, body in (("GET", None), ("POST", QUESTION)):
            answer = await node.http.request(method, "/embed", json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_dead")
