"""deploy/docs/en/openai-and-rerank.md: its examples work as they stand there."""

import asyncio
import re
from pathlib import Path
from textwrap import dedent
from typing import Any

from tests.support.nodes.faces import KEY, Face

PAGE = Path(__file__).parents[3] / "deploy" / "docs" / "en" / "openai-and-rerank.md"


async def test_the_clients_of_the_page_reach_the_node(face: Face) -> None:
    text = PAGE.read_text(encoding="utf-8").replace("http://localhost:8080", face.url).replace("a-key", KEY)
    names: dict[str, Any] = {}
    for block in re.findall(r"^ *```python\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        exec(dedent(block), names)
    models = await asyncio.to_thread(names["openai"].models.list)
    assert [model.id for model in models.data] == ["fake-embedder", "fake-reranker"]
    ranked = await asyncio.to_thread(names["rerank"].rerank, model="tandem", query="kiln", documents=["a", "kiln"])
    assert [each.index for each in ranked.results] == [1, 0]
    assert len(await names["embeddings"].aembed_query("kiln")) == 384
