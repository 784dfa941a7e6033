"""Models split over two processes, each with a core of its own: they answer as whole ones do, and leave nothing behind.

Engines of two processes take half a minute and more to start, so all of it belongs to the long form.
"""

import asyncio
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from retrieval.engines.cross_encoder import CrossEncoderReranker
from retrieval.engines.vllm.models import VllmEmbedder
from retrieval.engines.vllm.process import PROGRAM, EngineLaunch
from retrieval.errors import EngineDead
from retrieval.types import Lane
from tests.support.faults.chaos import Figure
from tests.support.models.engines import engine_options
from tests.support.waiting import until, wait_until

TEXTS = ["a text to embed", "another one, of more words, " * 20, "a third"]
QUERY, PASSAGES = "how hot is the kiln?", ["The kiln is held at 1280 degrees.", "Bread rises twice.", "heat " * 100]
LOSES_AT_MOST = 0.001
SHARED = Path("/dev/shm")


@pytest.fixture(autouse=True)
def in_the_long_form(long_form: bool) -> None:
    if not long_form:
        pytest.skip("in the long form only: make chaos")
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")


@pytest.fixture
def shared_memory() -> Iterator[None]:
    """Fails a test that leaves some behind."""

    def files() -> set[Path]:
        return {*SHARED.glob("psm_*"), *SHARED.glob("vllm*")}

    before = files()
    yield
    wait_until(lambda: files() <= before, seconds=15)


def workers(pids: tuple[int, ...]) -> list[psutil.Process]:
    """Vllm's own, and Python's that takes away shared memory."""
    [pid] = pids
    found = psutil.Process(pid).children(recursive=True)
    assert len([each for each in found if "Worker_TP" in each.name()]) == 2
    return found


def hosts() -> set[psutil.Process]:
    return {child for child in psutil.Process().children() if PROGRAM in child.cmdline()}


def gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


@pytest.mark.usefixtures("shared_memory")
async def test_vectors_are_those_of_a_whole_model(
    tiny_embedder: VllmEmbedder, tiny_embedding_folder: Path, figure: Figure
) -> None:
    split = VllmEmbedder(replace(engine_options("split", tiny_embedding_folder), tensor_parallel=2))
    await split.start()
    try:
        theirs = (await tiny_embedder.embed(TEXTS, kind="document", lane=Lane.BULK)).vectors
        ours = (await split.embed(TEXTS, kind="document", lane=Lane.BULK)).vectors
        cosine = float((theirs * ours).sum(axis=1).min())
        figure("vectors of a model split in two, least cosine with the whole one's", f"{cosine:.5f}")
        assert cosine >= 1 - LOSES_AT_MOST
        left = workers(split.engine.pids)
        for process in left:
            process.terminate()  # as systemd does while the node drains
        again = (await split.embed(TEXTS, kind="document", lane=Lane.BULK)).vectors
        np.testing.assert_array_equal(again, ours)
        # An idle engine learns of a dead worker as well, and comes back.
        next(each for each in left if "Worker_TP1" in each.name()).kill()
        await until(lambda: split.failure is not None, seconds=30)
        await until(lambda: split.failure is None, seconds=150)
        assert gone(left)
        again = (await split.embed(TEXTS, kind="document", lane=Lane.BULK)).vectors
        np.testing.assert_array_equal(again, ours)
        left = workers(split.engine.pids)
    finally:
        await split.close()
    assert gone(left)


@pytest.mark.usefixtures("shared_memory")
async def test_scores_are_those_of_a_whole_model(
    tiny_reranker: CrossEncoderReranker, tiny_reranker_folder: Path, figure: Figure
) -> None:
    split = CrossEncoderReranker(replace(engine_options("split", tiny_reranker_folder, "classify"), tensor_parallel=2))
    await split.start()
    try:
        theirs = (await tiny_reranker.rerank(QUERY, PASSAGES, lane=Lane.INTERACTIVE)).scores
        ours = (await split.rerank(QUERY, PASSAGES, lane=Lane.INTERACTIVE)).scores
    finally:
        await split.close()
    difference = max(abs(one - other) for one, other in zip(theirs, ours, strict=True))
    figure("scores of a model split in two, largest difference", f"{difference:.5f}")
    assert difference <= 0.01


@pytest.mark.usefixtures("shared_memory")
async def test_workers_end_with_a_killed_host_also_within_a_step(tiny_embedding_folder: Path) -> None:
    """One is stopped, so that the other waits for it in the midst of its step; and no node is there to clean up."""
    launch = EngineLaunch(replace(engine_options("split", tiny_embedding_folder), tensor_parallel=2))
    process = await asyncio.to_thread(launch.run)
    left = workers(process.pids)
    try:
        await process.attach()
        next(each for each in left if "Worker_TP1" in each.name()).suspend()
        call = asyncio.create_task(process.encode([[1, 2, 3]], Lane.BULK, None))
        await asyncio.wait([call], timeout=2)
        assert not call.done()
        os.kill(process.pids[0], signal.SIGKILL)
        with pytest.raises(EngineDead):
            await call
        await until(lambda: gone(left), seconds=15)
    finally:
        process.detach()
        await asyncio.to_thread(process.stop)


async def test_a_start_that_is_given_up_leaves_no_worker(tiny_embedding_folder: Path) -> None:
    """A block of shared memory does stay in /dev/shm, where the host is killed while it starts its workers."""
    others = hosts()
    launch = EngineLaunch(replace(engine_options("split", tiny_embedding_folder), tensor_parallel=2))
    start = asyncio.create_task(asyncio.to_thread(launch.run))
    started: list[psutil.Process] = []

    def loading() -> bool:
        started[:] = [each for host in hosts() - others for each in (host, *host.children(recursive=True))]
        return len(started) >= 4  # the host, Python's own, two workers

    await until(loading, seconds=150)
    await asyncio.to_thread(launch.cancel)
    with pytest.raises(EngineDead):
        await start
    assert gone(started)
