"""deploy/docs/en/open-webui.md: with its settings, what Open WebUI sends is answered as it reads it.

Its requests are those of backend/open_webui/retrieval/utils.py and retrieval/models/external.py.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import httpx
import numpy as np
import pytest

from retrieval.types import Lane, TextKind
from tests.support.nodes.faces import KEY, Face

PAGE = Path(__file__).parents[3] / "deploy" / "docs" / "en" / "open-webui.md"
CHUNKS = ["An hour passes.", "The kiln is hot.", "A kiln."]


@pytest.fixture(scope="module")
def settings(face: Face) -> Mapping[str, str]:
    """Those of the page, with this node's address."""
    found = dict(re.findall(r"^([A-Z_]+)=(.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    return {name: value.replace("http://tandem:8080", face.url) for name, value in found.items()}


def headers(key: str) -> dict[str, str]:
    """With the settings for it Open WebUI also tells whose chat it is."""
    who = {"X-OpenWebUI-User-Name": "Ada", "X-OpenWebUI-User-Id": "1", "X-OpenWebUI-User-Role": "user"}
    return {"Content-Type": "application/json", "Authorization": f"Bearer {key}", **who}


async def embedded(settings: Mapping[str, str], texts: list[str], prefix: str) -> list[list[float]]:
    body = {"input": texts, "model": settings["RAG_EMBEDDING_MODEL"]}
    body[settings["RAG_EMBEDDING_PREFIX_FIELD_NAME"]] = prefix
    async with httpx.AsyncClient() as http:
        answer = await http.post(
            f"{settings['RAG_OPENAI_API_BASE_URL']}/embeddings",
            headers=headers(settings["RAG_OPENAI_API_KEY"]),
            json=body,
        )
    return [each["embedding"] for each in answer.raise_for_status().json()["data"]]


@pytest.mark.parametrize(("setting", "kind"), [("QUERY", "query"), ("CONTENT", "document")])
async def test_embeddings_of_both_sides(
    face: Face, settings: Mapping[str, str], setting: str, kind: TextKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    embed = face.embedder.embed

    async def spy(texts: list[str], **arguments: object) -> object:
        seen.append((arguments["kind"], arguments["lane"]))
        return await embed(texts, **arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(face.embedder, "embed", spy)
    assert settings["RAG_OPENAI_API_KEY"] == KEY
    found = await embedded(settings, CHUNKS, settings[f"RAG_EMBEDDING_{setting}_PREFIX"])
    expected = await embed(CHUNKS, kind=kind, lane=Lane.BULK)
    assert (np.array(found, dtype=np.float32) == expected.vectors).all()
    assert seen == [(kind, Lane.INTERACTIVE if kind == "query" else Lane.BULK)]


async def test_the_external_reranker(face: Face, settings: Mapping[str, str]) -> None:
    body = {
        "model": settings["RAG_RERANKING_MODEL"],
        "query": "hot kiln",
        "documents": CHUNKS,
        "top_n": len(CHUNKS),
    }
    async with httpx.AsyncClient() as http:
        answer = await http.post(
            settings["RAG_EXTERNAL_RERANKER_URL"],
            headers=headers(settings["RAG_EXTERNAL_RERANKER_API_KEY"]),
            json=body,
        )
    results = sorted(answer.raise_for_status().json()["results"], key=lambda each: each["index"])
    scores = [each["relevance_score"] for each in results]
    assert tuple(scores) == (await face.reranker.rerank("hot kiln", CHUNKS, lane=Lane.INTERACTIVE)).scores
