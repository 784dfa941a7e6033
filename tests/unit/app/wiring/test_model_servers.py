"""TANDEM_ENGINE=http: which adapter speaks with which server."""

from pathlib import Path

import pytest

from app.settings import load_settings
from app.wiring.components import build_components
from retrieval.engines.http.texts import HttpPairReranker, HttpTextEmbedder
from retrieval.engines.http.tokens import HttpEmbedder, HttpReranker
from retrieval.errors import ConfigurationError
from retrieval.ports import Embedder, Reranker


async def _models(
    tmp_path: Path, embed: tuple[Path, str], rerank: tuple[Path, str], **settings: object
) -> tuple[Embedder, Reranker]:
    components = await build_components(
        load_settings(
            data_dir=tmp_path,
            engine="http",
            embed_url="http://embed.test",
            rerank_url="http://rerank.test",
            embed_model=str(embed[0]),
            embed_dialect=embed[1],
            rerank_model=str(rerank[0]),
            rerank_dialect=rerank[1],
            **settings,
        ),
        lambda step: None,
        "internal",
    )
    return components.embedder, components.reranker


@pytest.mark.parametrize("dialect", ["vllm", "vllm-ascend", "sglang"])
async def test_servers_of_token_ids(
    tmp_path: Path, minilm_folder: Path, small_qwen3_reranker_folder: Path, dialect: str
) -> None:
    embedder, reranker = await _models(
        tmp_path, (minilm_folder, dialect), (small_qwen3_reranker_folder, dialect), engine_priority=True
    )
    assert isinstance(embedder, HttpEmbedder)
    assert isinstance(reranker, HttpReranker)
    assert embedder.engine.dialect.name == dialect
    assert embedder.engine.options.url == "http://embed.test"
    assert reranker.engine.options.url == "http://rerank.test"
    assert reranker.engine.dialect.path == ("/v1/score" if dialect == "sglang" else "/classify")
    assert embedder.engine.options.send_priority


@pytest.mark.parametrize("dialect", ["tei", "infinity"])
async def test_servers_of_text(tmp_path: Path, minilm_folder: Path, cross_encoder_folder: Path, dialect: str) -> None:
    embedder, reranker = await _models(tmp_path, (minilm_folder, dialect), (cross_encoder_folder, dialect))
    assert isinstance(embedder, HttpTextEmbedder)
    assert isinstance(reranker, HttpPairReranker)
    assert embedder.engine.dialect.name == dialect


@pytest.mark.parametrize(
    ("dialect", "folder", "words"),
    [
        ("tei", "small_qwen3_reranker_folder", "at random without its prompt, and tei"),
        ("infinity", "small_qwen3_reranker_folder", "at random without its prompt, and infinity"),
        ("sglang", "cross_encoder_folder", "must be a Qwen3-Reranker"),
        ("vllm", "cross_encoder_folder", "must be a Qwen3-Reranker"),
    ],
)
async def test_a_reranker_that_would_rank_at_random_stops_the_start(
    tmp_path: Path, minilm_folder: Path, request: pytest.FixtureRequest, dialect: str, folder: str, words: str
) -> None:
    reranker: Path = request.getfixturevalue(folder)
    with pytest.raises(ConfigurationError, match=words):
        await _models(tmp_path, (minilm_folder, "infinity"), (reranker, dialect))
