"""How engines start, side by side and again. Their hosts are doubles, which hold no engine."""

import asyncio
import errno
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import psutil
import pytest
import pytest_asyncio

from retrieval.engines.vllm import process as vllm_process
from retrieval.engines.vllm.engine import VllmEngine
from retrieval.engines.vllm.process import EngineLaunch, EngineProcess
from retrieval.errors import EngineDead, EngineFailed, Unavailable
from retrieval.types import Lane
from tests.support.models.engine_host import PROGRAM
from tests.support.models.engines import engine_options
from tests.support.waiting import until

ROOT = Path(__file__).parents[3]


class Start:
    def __init__(self, folder: Path, kv_cache_bytes: int | None) -> None:
        folder.mkdir()
        self.folder = folder
        self.launch = EngineLaunch(replace(engine_options(folder.name, folder), kv_cache_bytes=kv_cache_bytes))
        self.run: asyncio.Task[EngineProcess] = asyncio.create_task(asyncio.to_thread(self.launch.run))

    @property
    def loaded(self) -> bool:
        return (self.folder / "loaded").exists()

    @property
    def begun(self) -> bool:
        return (self.folder / "begun").exists()

    @property
    def pid(self) -> int:
        return int((self.folder / "loaded").read_text())

    async def finish(self) -> None:
        (self.folder / "go").touch()
        process = await self.run
        assert process.pids == (self.pid,)
        process.detach()
        await asyncio.to_thread(process.stop)


class StartsOn(Protocol):
    def __call__(self, device: str, kv_cache_bytes: int | None = None, /) -> tuple[Start, Start]: ...


@pytest.fixture(autouse=True)
def double(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_process, "PROGRAM", PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest_asyncio.fixture(loop_scope="session")
async def starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StartsOn]:
    """On a device of that kind."""
    begun: list[Start] = []

    def two(device: str, kv_cache_bytes: int | None = None) -> tuple[Start, Start]:
        monkeypatch.setattr(vllm_process, "find_device", lambda: device)
        first, second = (Start(tmp_path / name, kv_cache_bytes) for name in ("embedder", "reranker"))
        begun.extend((first, second))
        return first, second

    yield two
    for start in begun:
        await asyncio.to_thread(start.launch.cancel)


async def in_turn(starts: tuple[Start, Start]) -> tuple[Start, Start]:
    """Returns when both are loaded and one has begun; that one first."""
    await until(lambda: all(start.loaded for start in starts) and any(start.begun for start in starts))
    first, second = sorted(starts, key=lambda start: not start.begun)
    return first, second


@pytest.mark.parametrize(("device", "kv_cache_bytes"), [("cuda", None), ("npu", None), ("npu", 1 << 30)])
async def test_both_load_at_once_and_take_the_device_in_turn(
    starts: StartsOn, device: str, kv_cache_bytes: int | None
) -> None:
    first, second = await in_turn(starts(device, kv_cache_bytes))
    await asyncio.sleep(0.5)
    assert not second.begun
    await first.finish()
    await second.finish()


@pytest.mark.parametrize(("device", "kv_cache_bytes"), [("cpu", None), ("cuda", 1 << 30)])
async def test_where_nothing_is_measured_nobody_waits(
    starts: StartsOn, device: str, kv_cache_bytes: int | None
) -> None:
    first, second = starts(device, kv_cache_bytes)
    await until(lambda: first.begun and second.begun)
    await first.finish()
    await second.finish()


async def test_one_that_dies_leaves_its_turn_when_it_is_gone(starts: StartsOn, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = await in_turn(starts("cuda"))
    ended, end = [], vllm_process._end_host
    monkeypatch.setattr(vllm_process, "_end_host", lambda process: ended.append(second.begun) or end(process))
    os.kill(first.pid, signal.SIGKILL)
    with pytest.raises(EngineFailed, match=r"vLLM could not start \w+: its process ended with status -9"):
        await first.run
    assert ended
    assert not any(ended)
    await until(lambda: second.begun)
    await second.finish()


async def test_one_that_is_given_up_does_not_wait_for_its_turn(
    starts: StartsOn,
) -> None:
    first, second = await in_turn(starts("cuda"))
    await asyncio.to_thread(second.launch.cancel)
    with pytest.raises(EngineDead):
        await second.run
    assert not psutil.pid_exists(second.pid)
    assert not second.begun
    await first.finish()


async def started(name: str, folder: Path, stall_seconds: float = 600) -> VllmEngine:
    (folder / "go").touch()
    options = replace(engine_options(name, folder), stall_seconds=stall_seconds)
    engine = VllmEngine(options, first_pause_seconds=0.01)
    await engine.start()
    assert engine.failure is None
    return engine


async def test_an_engine_that_dies_while_idle_is_started_until_it_serves_again(tmp_path: Path) -> None:
    engine = await started("late", tmp_path)
    (tmp_path / "broken").touch()
    os.kill(engine.pids[0], signal.SIGKILL)
    await until(lambda: engine.failure is not None and engine.failure.endswith("the model is broken"))
    with pytest.raises(EngineDead, match="tried again"):
        await engine.encode([[1]], lane=Lane.BULK)
    (tmp_path / "broken").unlink()
    await until(lambda: engine.failure is None)
    assert engine.restarts == 1
    await engine.close()
    await engine.close()


@pytest.mark.parametrize("missing", ["socketpair", "Popen"])
@pytest.mark.parametrize("code", [errno.ENOMEM, errno.EMFILE, errno.EAGAIN])
async def test_an_engine_that_the_system_gives_no_process_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, code: int
) -> None:
    engine = await started("poor", tmp_path)
    refused = refusing(monkeypatch, missing, OSError(code, os.strerror(code)), times=5)
    os.kill(engine.pids[0], signal.SIGKILL)
    await until(lambda: engine.failure is not None and os.strerror(code) in engine.failure)
    await until(lambda: engine.failure is None)
    assert refused.count == 5
    assert engine.restarts == 1
    await engine.close()


async def test_a_start_without_a_process_is_an_error_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptors = psutil.Process().num_fds()
    refusing(monkeypatch, "Popen", OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), times=1)
    engine = VllmEngine(engine_options("poor", tmp_path))
    with pytest.raises(EngineFailed, match=r"could not start poor: the system gave no process: Cannot allocate memory"):
        await engine.start()
    assert psutil.Process().num_fds() == descriptors


async def test_an_engine_that_is_stopped_is_killed_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast_ticks(monkeypatch)
    engine = await started("stopped", tmp_path)
    calls = [asyncio.create_task(engine.encode([[1]], lane=lane)) for lane in Lane]
    [pid] = engine.pids
    await until(lambda: engine.unfinished == len(calls))
    os.kill(pid, signal.SIGSTOP)
    outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 30)
    assert [type(outcome) for outcome in outcomes] == [EngineDead] * len(calls)
    assert "gave no sign of life" in str(engine.failure)
    await until(lambda: engine.failure is None)
    assert not psutil.pid_exists(pid)
    assert engine.restarts == 1
    await engine.close()


async def test_an_engine_that_finishes_nothing_is_killed_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it answers pings. One that has nothing to do is left alone."""
    fast_ticks(monkeypatch)
    engine = await started("stuck", tmp_path, stall_seconds=2)
    [pid] = engine.pids
    await asyncio.sleep(1)
    assert engine.pids == (pid,)
    with pytest.raises(EngineDead, match="finished none of its work"):
        await engine.encode([[1]], lane=Lane.BULK)
    await until(lambda: engine.failure is None)
    assert not psutil.pid_exists(pid)
    await engine.close()


async def test_a_start_that_hangs_is_given_up(starts: StartsOn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_process, "TICK_SECONDS", 0.05)
    monkeypatch.setattr(vllm_process, "_STARTING_SILENT_TICKS", 20)
    first, second = await in_turn(starts("cuda"))
    os.kill(first.pid, signal.SIGSTOP)
    with pytest.raises(EngineFailed, match="gave no sign of life"):
        await first.run
    assert not psutil.pid_exists(first.pid)
    await until(lambda: second.begun)
    await second.finish()


async def test_a_start_that_does_not_end_is_given_up(starts: StartsOn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_process, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(vllm_process, "_START_TICKS", 300)
    first, second = starts("cpu")
    for start in (first, second):
        with pytest.raises(EngineFailed, match="not done after"):
            await start.run


async def test_a_call_that_the_engine_loses_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.engines.vllm.engine._STALLS_PER_CALL", 0.05)
    engine = await started("forgetful", tmp_path, stall_seconds=10)
    with pytest.raises(Unavailable, match="did not answer within"):
        await engine.encode([[1]], lane=Lane.BULK)
    assert engine.unfinished == 0
    await engine.close()


async def test_health_says_at_once_that_an_engine_is_gone(tmp_path: Path) -> None:
    engine = await started("killed", tmp_path)
    host = psutil.Process(engine.pids[0])
    assert engine.failure is None
    host.kill()
    # Without a turn of the event loop, so that neither a caller nor the supervisor has noticed yet.
    psutil.wait_procs([host], timeout=10)
    assert engine.failure is not None
    assert "it is being restarted" in engine.failure
    await engine.close()


def fast_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_process, "TICK_SECONDS", 0.1)


async def test_an_engine_gets_what_concerns_devices_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = ("TANDEM_API_KEYS", "TANDEM_DATABASE_URL", "TANDEM_MILVUS_TOKEN", "TANDEM_S3_SECRET_KEY", "HF_TOKEN")
    others = ("AWS_SECRET_ACCESS_KEY", "OTEL_EXPORTER_OTLP_HEADERS", "VLLM_API_KEY", "PGPASSWORD")
    wanted = ("CUDA_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES", "NCCL_DEBUG", "VLLM_CACHE_ROOT", "HF_HOME", "CXX")
    for name in (*secrets, *others, *wanted):
        monkeypatch.setenv(name, "alpha-key")
    engine = await started("poor", tmp_path)
    environment = psutil.Process(engine.pids[0]).environ()
    await engine.close()
    assert environment.keys() >= {*wanted, "PATH", "HOME", "PYTHONPATH"}
    assert {name for name, value in environment.items() if value == "alpha-key"} == {*wanted}
    assert not any(name.startswith("TANDEM_") for name in environment)


class Refusals:
    count = 0


def refusing(monkeypatch: pytest.MonkeyPatch, missing: str, error: OSError, *, times: int) -> Refusals:
    """The system refuses so many times what a start needs."""
    module: Any = getattr(vllm_process, {"socketpair": "socket", "Popen": "subprocess"}[missing])
    real, refusals = getattr(module, missing), Refusals()

    def refuse(*args: Any, **kwargs: Any) -> object:
        if refusals.count == times:
            return real(*args, **kwargs)
        refusals.count += 1
        raise error

    monkeypatch.setattr(module, missing, refuse)
    return refusals
