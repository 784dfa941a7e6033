"""One vLLM engine process: how it is started, asked and stopped. vLLM is imported when an engine starts and not before:
the import alone takes seconds, and must find its environment variables set."""

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import structlog

from retrieval.engines.vllm_options import EngineOptions, EngineTask, engine_arguments, engine_environment
from retrieval.errors import ConfigurationError, EngineDead, EngineFailed, TandemError
from retrieval.types import Lane, TokenIds

if TYPE_CHECKING:
    import psutil
    from vllm.outputs import PoolingRequestOutput, RequestOutput
    from vllm.v1.engine.async_llm import AsyncLLM

log = structlog.get_logger()

Output = npt.NDArray[np.float32]
"""`embed`: (dimension,). `classify`: (1,). `token_embed`: (tokens, dimension)."""

_STARTING = threading.Lock()
"""Held while an engine starts. vLLM measures the device's free memory then, and a neighbour that allocates or releases
meanwhile spoils the measurement; the environment variables below are the whole process's, too."""
_STOP_SECONDS = 10.0
ENGINE_NICENESS = 5
"""Of a CPU engine's threads, 0 being everybody else's."""
_SUBMITTED_AT_ONCE = 16


class EngineProcess:
    """A started engine. Requests go in from the event loop; `stop` blocks and goes to a thread."""

    def __init__(self, llm: "AsyncLLM", options: EngineOptions, processes: Sequence[BaseProcess]) -> None:
        self._llm: AsyncLLM | None = llm
        self._task: EngineTask = options.task
        self._name = options.name
        self._processes = processes
        self._workers = _children(processes)
        self._step_back()

    @property
    def dead(self) -> bool:
        return self._llm is None or self._llm.errored or not all(process.is_alive() for process in self._processes)

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(process.pid for process in self._processes if process.pid is not None)

    @property
    def unfinished(self) -> int:
        """Requests that the engine still works on or holds in its queue."""
        return len(self._llm.output_processor.request_states) if self._llm else 0

    async def attach(self) -> None:
        """Binds the engine, which was made in a thread, to the running event loop. Errors as in `encode`."""
        try:
            await self._alive().get_supported_tasks()
        except Exception as error:
            raise self._translated(error) from error

    async def encode(self, token_ids: Sequence[TokenIds], lane: Lane, dimensions: int | None) -> list[Output]:
        """One request each, answered in order. Whatever ends it early, cancellation included, aborts them all.

        Raises EngineDead, EngineFailed.
        """
        from vllm import PoolingParams
        from vllm.inputs import tokens_input
        from vllm.v1.engine.exceptions import EngineDeadError

        llm = self._alive()
        params = PoolingParams(task=self._task, dimensions=dimensions)
        submitted = []
        try:
            for number, ids in enumerate(token_ids, start=1):
                prompt = tokens_input(list(ids))  # ready for the engine: a raw prompt costs twice the time on this loop
                submitted.append(await llm.add_request(uuid4().hex, prompt, params, priority=int(lane)))
                if number % _SUBMITTED_AT_ONCE == 0:
                    await asyncio.sleep(0)  # submitting never waits: a large call would hold the event loop
            return [_checked(await collector.get()) for collector in submitted]
        except BaseException as error:
            with suppress(EngineDeadError):
                await llm.abort([collector.request_id for collector in submitted], internal=True)
            if isinstance(error, Exception):
                raise self._translated(error) from error
            raise

    def _alive(self) -> "AsyncLLM":
        if self._llm is None:
            raise EngineDead(f"The engine of {self._name} was stopped")
        return self._llm

    def _translated(self, error: Exception) -> TandemError:
        if isinstance(error, TandemError):
            return error
        if self.dead:
            return EngineDead(f"The engine of {self._name} died; it is being restarted")
        return EngineFailed(f"The engine of {self._name} refused a request: {_told(error)}")

    def _step_back(self) -> None:
        """On a CPU, the engine's threads want every core all of the time. A little less of a claim than everybody
        else's lets the event loop and the store answer at once, and costs the engine only what those really use."""
        from vllm.platforms import current_platform

        if not current_platform.is_cpu():
            return
        for pid in (*self.pids, *(worker.pid for worker in self._workers)):
            with suppress(OSError):
                for thread in Path(f"/proc/{pid}/task").iterdir():
                    os.setpriority(os.PRIO_PROCESS, int(thread.name), ENGINE_NICENESS)

    def hush(self) -> None:
        """To call in the event loop before `stop`: vLLM takes the end of its process for a failure, and reports it."""
        if self._llm is not None and self._llm.output_handler is not None:
            self._llm.output_handler.cancel()

    def stop(self) -> None:
        """Ends the processes and waits for them. Works on a dead engine, whose workers may have outlived it."""
        import psutil

        if self._llm is not None:
            within(2 * _STOP_SECONDS, partial(self._llm.shutdown, timeout=_STOP_SECONDS))
        for process in self._processes:
            process.join(_STOP_SECONDS)
            process.kill()
        _, left = psutil.wait_procs(self._workers, timeout=_STOP_SECONDS)
        for worker in left:
            worker.kill()
        psutil.wait_procs(left, timeout=_STOP_SECONDS)
        self._llm = None  # frames that vLLM keeps would hold it until the interpreter's exit, where it complains


def within(seconds: float, work: Callable[[], object]) -> None:
    """Waits so long for `work` and no longer. vLLM's clean-up of an engine that died can hang for good: neither the
    restart of the engine nor the end of this process may hang with it."""
    thread = threading.Thread(target=work, name="engine clean-up", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        log.warning("engine clean-up hangs and is left behind", seconds=seconds)


class EngineLaunch:
    """One attempt to start an engine. `run` and `cancel` block; they go to two threads."""

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._cancelled = threading.Event()
        self._done = threading.Event()
        self._older: frozenset[int | None] | None = None

    def run(self) -> EngineProcess:
        """Raises EngineFailed (it would not start), EngineDead (cancelled), ConfigurationError (vLLM not installed)."""
        try:
            with self._turn():
                self._older = frozenset(process.pid for process in _engine_cores())
                try:
                    process = EngineProcess(_construct(self._options), self._options, self._processes())
                except ImportError as error:
                    raise ConfigurationError(f"The engine vllm needs the package vllm: {error}") from error
                except (RuntimeError, ValueError, OSError, AssertionError) as error:
                    self._check()
                    raise EngineFailed(f"vLLM could not start {self._options.name}: {_told(error)}") from error
                if self._cancelled.is_set():
                    process.stop()
                    raise EngineDead("The engine was closed while it started")
                return process
        finally:
            self._done.set()

    def cancel(self) -> None:
        """Makes `run` raise, and returns when it has. vLLM cannot be interrupted, but gives up without its process."""
        self._cancelled.set()
        while not self._done.wait(0.1):
            for process in self._processes():
                process.kill()

    def _processes(self) -> list[BaseProcess]:
        older = self._older
        return [] if older is None else [process for process in _engine_cores() if process.pid not in older]

    @contextmanager
    def _turn(self) -> Iterator[None]:
        while not _STARTING.acquire(timeout=0.1):
            self._check()
        try:
            self._check()
            yield
        finally:
            _STARTING.release()

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise EngineDead("The engine was closed while it started")


def _engine_cores() -> list[BaseProcess]:
    return [process for process in multiprocessing.active_children() if process.name.startswith("EngineCore")]


def _children(processes: Sequence[BaseProcess]) -> "list[psutil.Process]":
    import psutil

    children: list[psutil.Process] = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            children += psutil.Process(process.pid).children(recursive=True)
    return children


def _construct(options: EngineOptions) -> "AsyncLLM":
    os.environ.update(engine_environment(options))
    from vllm.v1.engine.async_llm import AsyncLLM

    return AsyncLLM.from_engine_args(engine_arguments(options))


def _checked(output: "PoolingRequestOutput | RequestOutput") -> Output:
    from vllm.outputs import PoolingRequestOutput

    assert isinstance(output, PoolingRequestOutput)
    values: Output = output.outputs.data.float().numpy()
    if values.size == 0 or not np.isfinite(values).all():
        raise EngineFailed("The engine returned an output that is empty or not finite")
    return values


def _told(error: BaseException) -> str:
    """vLLM's messages run over many lines."""
    return (" ".join(str(error).split()) or type(error).__name__)[:300]
