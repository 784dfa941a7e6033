"""A real Infinity on 127.0.0.1 with two models: all-MiniLM-L6-v2 and a tiny random cross-encoder. It wants older
packages than the service, so it gets an environment of its own beside .venv: `make infinity` installs it from PyPI and
runs these tests. Without that environment they are skipped."""

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from retrieval.engines.http.dialects.infinity import INFINITY_EMBED, INFINITY_RERANK
from retrieval.engines.http.server import HttpServerOptions
from retrieval.engines.http.texts import HttpPairReranker, HttpTextEmbedder
from tests.support.waiting import free_port

ENVIRONMENT = Path(__file__).parents[3] / ".venv-infinity"
MARKER = ENVIRONMENT / ".installed"
PACKAGES = Path(__file__).with_name("infinity.txt")
SITE = sysconfig.get_paths()["purelib"]
START_SECONDS = 90
STOP_SECONDS = 20
API_KEY = "a key of the tests"


@pytest.fixture(scope="session")
def tiny_cross_encoder_folder(tmp_path_factory: pytest.TempPathFactory, minilm_folder: Path) -> Path:
    """Random weights of BERT with one output, with the tokenizer of all-MiniLM-L6-v2."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("tiny-cross-encoder")
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=30522,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        initializer_range=0.2,  # so that every token leaves its mark
        num_labels=1,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copy(minilm_folder / name, folder)
    return folder


@pytest.fixture(scope="session")
def infinity_url(
    minilm_folder: Path, tiny_cross_encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    if not _is_installed():
        pytest.skip(f"no {ENVIRONMENT}: make infinity")
    port = free_port()
    arguments = ["v2", "--host", "127.0.0.1", "--port", str(port), "--api-key", API_KEY]
    for folder, name in ((minilm_folder, "minilm"), (tiny_cross_encoder_folder, "cross-encoder")):
        arguments += ["--model-id", str(folder), "--served-model-name", name]
    arguments += ["--device", "cpu", "--dtype", "float32", "--no-bettertransformer", "--no-model-warmup"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "PYTHONPATH": ""}
    log = tmp_path_factory.mktemp("infinity") / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [ENVIRONMENT / "bin" / "infinity_emb", *arguments], stdout=output, stderr=subprocess.STDOUT, env=environment
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _await_health(server, url, log)
        yield url
    finally:
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(STOP_SECONDS)
        server.kill()
        server.wait()


@pytest_asyncio.fixture(scope="session")
async def infinity_embedder(infinity_url: str, minilm_folder: Path) -> AsyncIterator[HttpTextEmbedder]:
    server = HttpServerOptions(url=infinity_url, model="minilm", api_key=API_KEY, max_model_len=8192)
    embedder = HttpTextEmbedder(minilm_folder, server, INFINITY_EMBED)
    await embedder.start()
    yield embedder
    await embedder.close()


@pytest_asyncio.fixture(scope="session")
async def infinity_reranker(infinity_url: str, tiny_cross_encoder_folder: Path) -> AsyncIterator[HttpPairReranker]:
    server = HttpServerOptions(url=infinity_url, model="cross-encoder", api_key=API_KEY, max_model_len=8192)
    reranker = HttpPairReranker(tiny_cross_encoder_folder, server, INFINITY_RERANK)
    await reranker.start()
    yield reranker
    await reranker.close()


def _is_installed() -> bool:
    return MARKER.is_file() and MARKER.read_text() == _wanted()


def _wanted() -> str:
    return sha256((PACKAGES.read_text() + SITE + sys.version).encode()).hexdigest()


def install() -> None:
    """Makes the environment. Does nothing where it is there."""
    if _is_installed():
        return
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
    [packages] = ENVIRONMENT.glob("lib/python3*/site-packages")
    (packages / "tests.pth").write_text(SITE)  # searched after its own packages, which win
    pip = [ENVIRONMENT / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--requirement", PACKAGES]
    subprocess.run(pip, check=True)
    MARKER.write_text(_wanted())


def _await_health(server: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/health", timeout=2, trust_env=False).status_code == httpx.codes.OK:
                return
        time.sleep(0.25)
    pytest.fail(f"Infinity did not start:\n{log.read_text(errors='replace')[-3000:]}")


if __name__ == "__main__":
    install()
