"""What the tests that break things share: models that stay alive while everything else dies."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.faults.small_disk import CannotMount, small_disk
from tests.support.models.engines import TINY_WINDOW
from tests.support.models.model_server import ModelServer
from tests.support.models.vllm_serve import API_KEY
from tests.support.nodes.served_node import DISK_BYTES, MINILM, ServedNodeUnderLoad, served_node
from tests.support.waiting import free_port


@pytest.fixture(scope="session")
def tiny_models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Settings of a node with both models on servers, but for the servers' addresses."""
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
    return settings


@pytest.fixture(scope="session")
def models(request: pytest.FixtureRequest, tiny_models: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """The same with them: in the long form `vllm serve`, in the short one its double."""
    if request.config.getoption("--chaos") == "long":
        embed, rerank = (request.getfixturevalue(f"{name}_server").url for name in ("embedding", "reranking"))
        yield {**tiny_models, "TANDEM_EMBED_URL": embed, "TANDEM_RERANK_URL": rerank}
    else:
        server = ModelServer(free_port())
        server.start()
        yield {**tiny_models, "TANDEM_EMBED_URL": server.url, "TANDEM_RERANK_URL": server.url}
        server.stop()


@pytest.fixture(scope="session")
def shared_node(
    tiny_models: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServedNodeUnderLoad]:
    """A served node that tests use one after the other, on a small disk where one can be mounted."""
    folder = tmp_path_factory.mktemp("outside")
    with ExitStack() as stack:
        try:
            disk = stack.enter_context(small_disk(folder / "disk", DISK_BYTES))
        except CannotMount:
            disk = None
        yield stack.enter_context(served_node(folder, tiny_models, disk))


@pytest.fixture
def outside(shared_node: ServedNodeUnderLoad) -> Iterator[ServedNodeUnderLoad]:
    """That node, with models that answer at once."""
    yield shared_node
    shared_node.models.seconds = shared_node.models.document_seconds = 0.0


@pytest.fixture(scope="session")
def shared_minilm_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedNodeUnderLoad]:
    """A served node with engines of its own."""
    with served_node(tmp_path_factory.mktemp("minilm"), MINILM, None) as node:
        yield node


@pytest.fixture
def minilm_node(request: pytest.FixtureRequest, long_form: bool) -> ServedNodeUnderLoad:
    if not long_form:
        pytest.skip("only in the long form: engines take half a minute to start, and as long to come back")
    node: ServedNodeUnderLoad = request.getfixturevalue("shared_minilm_node")
    return node
