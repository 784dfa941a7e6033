"""One vLLM engine process: how it is started, asked and stopped. Every import of vLLM, and every environment variable
of its, is here; both wait until an engine starts, because the import alone takes seconds."""

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from retrieval.errors import ConfigurationError, EngineDead, EngineFailed, TandemError
from retrieval.types import Lane, TokenIds

if TYPE_CHECKING:
    import psutil
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.outputs import PoolingRequestOutput, RequestOutput
    from vllm.v1.engine.async_llm import AsyncLLM

EngineTask = Literal["embed", "classify", "token_embed"]
Output = npt.NDArray[np.float32]
"""`embed`: (dimension,). `classify`: (1,). `token_embed`: (tokens, dimension)."""

_STARTING = threading.Lock()
"""Held while an engine starts. vLLM measures the device's free memory then, and a neighbour that allocates or releases
meanwhile spoils the measurement; the environment variables below are the whole process's, too."""
_STOP_SECONDS = 10.0
_SUBMITTED_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What one engine is started with. Memory is stated, never guessed: two engines share one device."""

    name: str
    """Public name of the model, for logs and errors."""
    model: Path
    """Folder with config.json, weights and tokenizer."""
    task: EngineTask
    max_model_len: int
    memory_share: float
    """Share of the device's whole memory in (0, 1]; on a CPU, of the memory of its NUMA node."""
    kv_cache_bytes: int | None = None
    """Size of the KV cache; None: what `memory_share` leaves after weights and activations."""
    max_num_batched_tokens: int = 8192
    """Tokens of one step. Raised to `max_model_len`: no prompt is ever computed in pieces."""
    max_num_seqs: int = 256
    dtype: Literal["bfloat16", "float32"] | None = None
    """None: bfloat16 where the hardware computes in it, else float32. Never float16: Qwen3-Embedding-8B overflows in
    it, and CPUs emulate it."""
    prefix_caching: bool = True
    """Used where it is right (causal models that pool the last token); False switches it off there as well."""
    enforce_eager: bool = False
    """No compilation: starts sooner, computes slower."""
    load_format: Literal["auto", "dummy"] = "auto"
    """`dummy`: random weights of the right shape, to measure a device without a download."""
    cpu_cores: str | None = None
    """Cores for the threads of a CPU engine, for instance `0-3`. None: all that this process may use."""
    hf_overrides: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.memory_share <= 1:
            raise ConfigurationError(f"memory_share is {self.memory_share}; it must be in (0, 1]")


class EngineProcess:
    """A started engine. Requests go in from the event loop; `stop` blocks and goes to a thread."""

    def __init__(self, llm: "AsyncLLM", options: EngineOptions, processes: Sequence[BaseProcess]) -> None:
        self._llm = llm
        self._task: EngineTask = options.task
        self._name = options.name
        self._processes = processes
        self._workers = _children(processes)

    @property
    def dead(self) -> bool:
        return self._llm.errored or not all(process.is_alive() for process in self._processes)

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(process.pid for process in self._processes if process.pid is not None)

    @property
    def unfinished(self) -> int:
        """Requests that the engine still works on or holds in its queue."""
        return len(self._llm.output_processor.request_states)

    async def attach(self) -> None:
        """Binds the engine, which was made in a thread, to the running event loop. Errors as in `encode`."""
        try:
            await self._llm.get_supported_tasks()
        except Exception as error:
            raise self._translated(error) from error

    async def encode(self, token_ids: Sequence[TokenIds], lane: Lane, dimensions: int | None) -> list[Output]:
        """One request each, answered in order. Whatever ends it early, cancellation included, aborts them all.

        Raises EngineDead, EngineFailed.
        """
        from vllm import PoolingParams
        from vllm.inputs import TokensPrompt

        params = PoolingParams(task=self._task, dimensions=dimensions)
        submitted = []
        try:
            for number, ids in enumerate(token_ids, start=1):
                prompt = TokensPrompt(prompt_token_ids=list(ids))
                submitted.append(await self._llm.add_request(uuid4().hex, prompt, params, priority=int(lane)))
                if number % _SUBMITTED_AT_ONCE == 0:
                    await asyncio.sleep(0)  # submitting never waits: a large call would hold the event loop
            return [_checked(await collector.get()) for collector in submitted]
        except BaseException as error:
            await self._abort([collector.request_id for collector in submitted])
            if isinstance(error, Exception):
                raise self._translated(error) from error
            raise

    async def _abort(self, request_ids: list[str]) -> None:
        from vllm.v1.engine.exceptions import EngineDeadError

        with suppress(EngineDeadError):
            await self._llm.abort(request_ids, internal=True)

    def _translated(self, error: Exception) -> TandemError:
        if isinstance(error, TandemError):
            return error
        if self.dead:
            return EngineDead(f"The engine of {self._name} died; it is being restarted")
        return EngineFailed(f"The engine of {self._name} refused a request: {_told(error)}")

    def stop(self) -> None:
        """Ends the processes and waits for them. Works on a dead engine, whose workers may have outlived it."""
        import psutil

        self._llm.shutdown(timeout=_STOP_SECONDS)
        for process in self._processes:
            process.join(_STOP_SECONDS)
        _, left = psutil.wait_procs(self._workers, timeout=_STOP_SECONDS)
        for worker in left:
            worker.kill()
        psutil.wait_procs(left, timeout=_STOP_SECONDS)


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
                    llm = _construct(self._options)
                except ImportError as error:
                    raise ConfigurationError(f"The engine vllm needs the package vllm: {error}") from error
                except (RuntimeError, ValueError, OSError, AssertionError) as error:
                    raise EngineFailed(f"vLLM could not start {self._options.model.name}: {_told(error)}") from error
                process = EngineProcess(llm, self._options, self._processes())
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

    return [child for process in processes for child in psutil.Process(process.pid).children(recursive=True)]


def _construct(options: EngineOptions) -> "AsyncLLM":
    os.environ.update(_environment(options))
    from vllm.v1.engine.async_llm import AsyncLLM

    return AsyncLLM.from_engine_args(_arguments(options))


def _environment(options: EngineOptions) -> dict[str, str]:
    """Inherited by the engine's processes."""
    return {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_CPU_OMP_THREADS_BIND": options.cpu_cores or _own_cores(),
    }


def _own_cores() -> str:
    """All cores that this process may use; by default vLLM keeps one back, which halves a machine of two. On several
    NUMA nodes vLLM's own choice stays, since threads across nodes slow each other down."""
    if len(list(Path("/sys/devices/system/node").glob("node[0-9]*"))) > 1:
        return "auto"
    return ",".join(str(core) for core in sorted(os.sched_getaffinity(0)))


def _arguments(options: EngineOptions) -> "AsyncEngineArgs":
    from vllm.config import PoolerConfig
    from vllm.engine.arg_utils import AsyncEngineArgs

    token_wise = options.task == "token_embed"
    return AsyncEngineArgs(
        model=str(options.model),
        served_model_name=options.name,
        runner="pooling",
        dtype=options.dtype or _dtype(),
        max_model_len=options.max_model_len,
        max_num_batched_tokens=max(options.max_num_batched_tokens, options.max_model_len),
        max_num_seqs=options.max_num_seqs,
        gpu_memory_utilization=options.memory_share,
        kv_cache_memory_bytes=options.kv_cache_bytes,
        # None leaves it to vLLM, which caches for causal models that pool the last token and for no other.
        enable_prefix_caching=None if options.prefix_caching and not token_wise else False,
        scheduling_policy="priority",
        pooler_config=PoolerConfig(task="token_embed") if token_wise else None,
        hf_overrides=dict(options.hf_overrides),
        load_format=options.load_format,
        enforce_eager=options.enforce_eager,
        disable_log_stats=True,
        use_tqdm_on_load=False,
    )


def _dtype() -> Literal["bfloat16", "float32"]:
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return "bfloat16"
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
    return "bfloat16" if flags & {"avx512_bf16", "amx_bf16", "bf16"} else "float32"  # the last one is ARM's name


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
