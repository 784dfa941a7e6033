"""An engine process from start to end: its death, its callers' deaths, and what stays behind (nothing)."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import pytest_asyncio
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModel

from retrieval.engines.vllm.engine import VllmEngine
from retrieval.engines.vllm.models import VllmEmbedder
from retrieval.engines.vllm.process import PROGRAM
from retrieval.errors import ConfigurationError, EngineDead, EngineFailed, NotReady
from retrieval.types import Lane
from tests.support.models.engines import MATRYOSHKA_DIMENSION, TINY_DIMENSION, engine_options
from tests.support.models.qwen3_tokenizer import END_OF_TEXT
from tests.support.waiting import until

pytestmark = pytest.mark.many_engines

BROKEN = "<|fim_pad|>"
"""A token that the model below has no finite vector for."""
SHORT_WORK = ["a text to embed", "and another one"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_embedding_folder: Path, qwen3_tokenizer: Tokenizer) -> Path:
    """The tiny embedding model with one token broken."""
    folder = tmp_path_factory.mktemp("mortal")
    for file in tiny_embedding_folder.iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "model.safetensors")
    weights["embed_tokens.weight"][qwen3_tokenizer.token_to_id(BROKEN)] = torch.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def embedder(folder: Path) -> AsyncIterator[VllmEmbedder]:
    embedder = VllmEmbedder(engine_options("mortal", folder), dimension=MATRYOSHKA_DIMENSION)
    await embedder.start()
    yield embedder
    await embedder.close()


def much_work(subject: str) -> list[str]:
    """Seconds of work, none of it known to the engine's cache of prefixes."""
    return [f"{subject} {number} " + "word " * 400 for number in range(300)]


def engine_processes() -> set[int]:
    return {child.pid for child in psutil.Process().children() if PROGRAM in child.cmdline()}


async def test_reduced_dimension_is_the_full_vectors_head(
    embedder: VllmEmbedder, folder: Path, qwen3_tokenizer: Tokenizer
) -> None:
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        ids = torch.tensor([[*qwen3_tokenizer.encode(SHORT_WORK[0]).ids, END_OF_TEXT]])
        expected = model(ids).last_hidden_state[0, -1, :MATRYOSHKA_DIMENSION].numpy()
    result = await embedder.embed(SHORT_WORK[:1], kind="document", lane=Lane.BULK)
    assert result.vectors.shape == (1, MATRYOSHKA_DIMENSION)
    assert embedder.fingerprint.dimension == MATRYOSHKA_DIMENSION
    assert result.vectors[0] @ expected / np.linalg.norm(expected) >= 0.999
    np.testing.assert_allclose(np.linalg.norm(result.vectors), 1, atol=1e-3)


async def test_nobody_can_connect_to_an_engine(embedder: VllmEmbedder) -> None:
    """Its groups listen, on the loopback address, and the kernel drops what comes."""
    await embedder.embed(SHORT_WORK, kind="document", lane=Lane.BULK)
    host = psutil.Process(embedder.engine.pids[0])
    sockets = [each for process in (host, *host.children(recursive=True)) for each in process.net_connections("inet")]
    assert {each.laddr.ip for each in sockets} <= {"127.0.0.1"}
    assert {each.status for each in sockets} <= {psutil.CONN_LISTEN}

    async def connected(port: int) -> bool:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 2)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    assert not any(await asyncio.gather(*(connected(each.laddr.port) for each in sockets)))


async def test_a_cancelled_caller_leaves_no_requests_behind(embedder: VllmEmbedder) -> None:
    call = asyncio.create_task(embedder.embed(much_work("cancel"), kind="document", lane=Lane.BULK))
    await until(lambda: embedder.engine.unfinished > 50, seconds=150)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert embedder.engine.unfinished == 0


async def test_a_refused_request_takes_its_call_along_and_no_other(embedder: VllmEmbedder) -> None:
    other = asyncio.create_task(embedder.embed(much_work("other"), kind="document", lane=Lane.BULK))
    await until(lambda: embedder.engine.unfinished > 50, seconds=150)
    with pytest.raises(EngineFailed, match="mortal"):
        await embedder.engine.encode([[1, 2, 3], [1] * 4000], lane=Lane.BULK)
    assert len((await other).vectors) == 300
    assert embedder.engine.unfinished == 0
    assert embedder.engine.failure is None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_dead_or_stopped_engine_fails_its_callers_and_comes_back(
    embedder: VllmEmbedder, number: signal.Signals
) -> None:
    restarts = embedder.engine.restarts
    before = await embedder.embed(SHORT_WORK, kind="document", lane=Lane.BULK)
    calls = [
        asyncio.create_task(embedder.embed(much_work(f"call {number}"), kind="document", lane=Lane.BULK))
        for number in range(3)
    ]
    await until(lambda: embedder.engine.unfinished > 50, seconds=150)
    [pid] = embedder.engine.pids
    workers = psutil.Process(pid).children(recursive=True)
    os.kill(pid, number)
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [EngineDead] * 3
    assert embedder.failure is not None
    with pytest.raises(EngineDead, match="mortal"):
        await embedder.embed(["a"], kind="document", lane=Lane.BULK)
    await until(lambda: embedder.failure is None, seconds=150)
    assert not psutil.pid_exists(pid)
    assert not any(worker.is_running() for worker in workers)
    after = await embedder.embed(SHORT_WORK, kind="document", lane=Lane.BULK)
    np.testing.assert_array_equal(after.vectors, before.vectors)
    assert embedder.engine.restarts == restarts + 1


async def test_outputs_that_are_not_finite_are_errors(embedder: VllmEmbedder) -> None:
    with pytest.raises(EngineFailed, match="not finite"):
        await embedder.embed(["fine", BROKEN], kind="document", lane=Lane.BULK)
    assert embedder.failure is None


async def test_a_model_that_does_not_load_is_refused(tmp_path: Path) -> None:
    others = engine_processes()
    engine = VllmEngine(engine_options("hopeless", tmp_path))
    with pytest.raises(NotReady):
        await engine.encode([[1]], lane=Lane.BULK)
    with pytest.raises(EngineFailed, match=r"^vLLM could not start hopeless: .*local directory"):
        await engine.start()
    assert engine.failure is not None
    assert engine_processes() == others
    await engine.close()
    await engine.close()


async def test_close_during_start_leaves_no_process(folder: Path) -> None:
    others = engine_processes()
    engine = VllmEngine(engine_options("hasty", folder))
    start = asyncio.create_task(engine.start())
    await until(lambda: engine_processes() > others, seconds=150)
    await engine.close()
    with pytest.raises(EngineDead):
        await start
    assert engine_processes() == others
    assert engine.failure is not None


async def test_a_cancelled_start_leaves_no_process(folder: Path) -> None:
    others = engine_processes()
    engine = VllmEngine(engine_options("undecided", folder))
    start = asyncio.create_task(engine.start())
    await until(lambda: engine_processes() > others, seconds=150)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert engine_processes() == others
    await engine.close()


async def test_a_dimension_the_model_does_not_have_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"{TINY_DIMENSION}"):
        VllmEmbedder(engine_options("wide", folder), dimension=TINY_DIMENSION + 1)
