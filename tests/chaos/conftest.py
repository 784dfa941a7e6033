"""What the tests that break things share: models that stay alive while everything else dies."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.engines import TINY_WINDOW
from tests.support.model_server import ModelServer
from tests.support.vllm_serve import API_KEY
from tests.support.waiting import free_port


@pytest.fixture(scope="session")
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """Settings of a node with both models on servers: in the long form `vllm serve`, in the short one its double."""
    names = tmp_path_factory.mktemp("models")
    settings = {
        "TANDEM_ENGINE": "http",
        "TANDEM_ENGINE_API_KEY": API_KEY,
        "TANDEM_MAX_MODEL_LEN": str(TINY_WINDOW),
        "TANDEM_SELFTEST_MARGIN": "false",
    }
    for setting, fixture in (("EMBED", "tiny_embedding_folder"), ("RERANK", "tiny_reranker_folder")):
        folder: Path = request.getfixturevalue(fixture)
        # A folder's name is the name of its model, by which a server knows it.
        link = names / ("tiny-qwen3-embedding" if setting == "EMBED" else "tiny-qwen3-reranker")
        link.symlink_to(folder)
        settings[f"TANDEM_{setting}_MODEL"] = str(link)
    if request.config.getoption("--chaos") == "long":
        embed, rerank = (request.getfixturevalue(f"{name}_server").url for name in ("embedding", "reranking"))
        yield settings | {"TANDEM_EMBED_URL": embed, "TANDEM_RERANK_URL": rerank}
    else:
        server = ModelServer(free_port())
        server.start()
        yield settings | {"TANDEM_EMBED_URL": server.url, "TANDEM_RERANK_URL": server.url}
        server.stop()
