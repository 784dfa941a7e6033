"""A node on a Qwen3 pair of random weights, given by folders: the path of production in all but meaning."""

from pathlib import Path

import pytest

from app.cli.client.node_client import Client
from tests.support.nodes.served import serving

pytestmark = pytest.mark.many_engines


@pytest.fixture(scope="module")
def folders(tiny_embedding_folder: Path, tiny_reranker_folder: Path) -> dict[str, str]:
    return {"TANDEM_EMBED_MODEL": str(tiny_embedding_folder), "TANDEM_RERANK_MODEL": str(tiny_reranker_folder)}


def test_a_qwen3_pair_serves_chinese_and_english(tmp_path: Path, folders: dict[str, str]) -> None:
    settings = {"TANDEM_MODELS": "qwen3-0.6b", "TANDEM_MAX_MODEL_LEN": "512", "TANDEM_SELFTEST_MARGIN": "false"}
    documents = [
        {"id": "zh", "text": "窑炉先慢慢升温，到一千二百八十度时保温一小时。"},
        {"id": "en", "text": "The kiln is heated slowly and held at its highest temperature for an hour."},
        {"id": "long", "text": "很长的一段话，没有尽头。" * 400},
    ]
    with serving(tmp_path, **folders, **settings) as node, Client(node.url) as client:
        job = client.ingest(documents=documents, wait=True, chunking={"max_tokens": 128})
        assert job["state"] == "succeeded"
        assert job["progress"]["chunks"] > 20
        answer = client.search("窑炉保温多久？", top_k=5, instruction="Find kiln instructions", candidates=20)
        assert answer["rerank"]["applied"]
        assert (answer["rerank"]["scored"], len(answer["hits"])) == (20, 5)
        assert [hit["score"] for hit in answer["hits"]] == sorted(
            (hit["score"] for hit in answer["hits"]), reverse=True
        )
        assert all(0 <= hit["score"] <= 1 for hit in answer["hits"])
        cut = client.search("温度" * 2000, top_k=1)
        assert cut["truncated_query_tokens"] > 1000
        assert answer["truncated_query_tokens"] == 0
