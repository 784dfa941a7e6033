"""The options of one vLLM engine, and their translation into vLLM's own arguments and environment variables."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from retrieval.errors import ConfigurationError
from retrieval.processes.environment import process_environment

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.engine.arg_utils import AsyncEngineArgs

EngineTask = Literal["embed", "classify", "token_embed"]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """The options that one engine is started with. Memory is stated, never guessed: two engines share one device."""

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
    tensor_parallel: int = 1
    """Number of devices that the model is split over, the first visible ones. Memory options apply to each of them."""
    max_num_batched_tokens: int = 8192
    """Tokens of one step. Raised to `max_model_len`: no prompt is ever computed in pieces."""
    max_num_seqs: int = 256
    dtype: Literal["bfloat16", "float32", "float16"] | None = None
    """None: bfloat16 where the hardware computes in it, else float32. float16 only for a device that knows nothing
    wider: Qwen3-Embedding-8B overflows in it, and CPUs emulate it."""
    prefix_caching: bool = True
    """Used where it is right (causal models that pool the last token); False switches it off there as well."""
    block_size: int | None = None
    """Tokens of a block of the KV cache; None: as vLLM chooses."""
    enforce_eager: bool = False
    """Neither compilation nor graphs: starts sooner, computes slower."""
    load_format: Literal["auto", "dummy"] = "auto"
    """`dummy`: random weights of the right shape, to measure a device without a download."""
    cpu_cores: str | None = None
    """Cores for the threads of a CPU engine, for instance `0-3`, or `0-1|2-3` for two parts of a model. None: all that
    this process may use."""
    hf_overrides: Mapping[str, object] = field(default_factory=dict)
    graph_capture_sizes: tuple[int, ...] | None = None
    """Tokens of a step that graphs are captured for; None: vLLM's own choice."""
    whole_graphs: bool = False
    """A step is one graph where its attention can be captured, instead of one for each piece between attentions."""
    portion_tokens: int | None = None
    """The engine is given so many tokens at a time, and prepares a portion while it computes the one before. None: it
    is given all there is, and prepares and computes in turn; on a CPU both want the same cores."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of the engine's processes, in addition to what they inherit, which show them their device only."""
    stall_seconds: float = 600.0
    """An engine that has work in flight and finishes no prompt for this long counts as hung. Longer than its longest
    step.
    """
    additional_config: Mapping[str, object] = field(default_factory=dict)
    """Options of the platform's plugin, vllm-ascend for instance."""

    def __post_init__(self) -> None:
        if not 0 < self.memory_share <= 1:
            raise ConfigurationError(f"memory_share is {self.memory_share}; it must be in (0, 1]")


_NAMES = frozenset(
    {
        *("CC", "CXX", "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "LIBRARY_PATH", "CONDA_PREFIX", "DO_NOT_TRACK"),
        *("CPU_AFFINITY_CONF", "TASK_QUEUE_ENABLE", "TOOLCHAIN_HOME", "SOC_VERSION"),  # vllm-ascend's and CANN's
    }
)
_PREFIXES = (
    *("VLLM_", "TORCH", "PYTORCH_", "TRITON", "HF_", "TRANSFORMERS_", "XDG_", "NUMBA_", "FLASHINFER_"),
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "CUDA", "NVIDIA_", "NCCL_", "NVSHMEM_", "GLOO_"),
    *("ASCEND", "ATB_", "HCCL_", "LCCL_", "LCAL_", "NPU_", "ACL_"),
)


def engine_environment(options: EngineOptions) -> dict[str, str]:
    """Returns the whole environment of the engine's processes: the variables of this process that concern programs,
    devices and computing libraries, and no setting, key or address of the service.
    """
    return {
        **process_environment(names=_NAMES, prefixes=_PREFIXES),
        **({"GLOO_SOCKET_IFNAME": "lo"} if Path("/sys/class/net/lo").exists() else {}),
        "VLLM_HOST_IP": "127.0.0.1",  # a split model is on one machine too
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # our own process runs the engine
        "VLLM_CPU_OMP_THREADS_BIND": options.cpu_cores or _own_cores(options.tensor_parallel),
        # Threads of two engines on the same cores that wait for one another by spinning: a rerank of 113 ms beside an
        # embedding of 18 ms took 765 ms, and that 417. Sleeping instead: 142 and 28 ms (two cores, all-MiniLM-L6-v2).
        "OMP_WAIT_POLICY": "PASSIVE",
        # Deprecation warnings of vLLM and torch are for their developers. Workers of a split model end with their
        # host and not before it; their shared resources are removed all the same.
        "PYTHONWARNINGS": "ignore::FutureWarning,ignore:resource_tracker",
        **options.environment,
    }


def _own_cores(parts: int) -> str:
    """Returns all cores that this process may use. vLLM's default reserves one, which halves a machine of two cores. On
    several NUMA nodes vLLM's own choice is kept, one node for each part, since threads across nodes slow each other
    down. Raises ConfigurationError if there are fewer cores than parts.
    """
    nodes = len(list(Path("/sys/devices/system/node").glob("node[0-9]*")))
    if nodes > 1 and nodes >= parts:
        return "auto"
    return "|".join(",".join(map(str, cores)) for cores in cores_of_parts(parts))


def cores_of_parts(parts: int, cores: Sequence[int] | None = None) -> Sequence[Sequence[int]]:
    """Returns the cores for each part of a model: consecutive ones, and no part has more than one core more than
    another. `cores` is None for all cores that this process may use. Raises ConfigurationError.
    """
    cores = sorted(os.sched_getaffinity(0)) if cores is None else cores
    if parts > len(cores):
        raise ConfigurationError(
            f"TANDEM_TENSOR_PARALLEL={parts}: on a CPU each part of a model needs a core of its own, and {len(cores)} "
            "can be used here."
        )
    bounds = [len(cores) * part // parts for part in range(parts + 1)]
    return [cores[first:last] for first, last in pairwise(bounds)]


def cores_of_groups(groups: int, parts: int) -> Sequence[str | None]:
    """Returns the cores of each group of engines that stands for a device and splits models into `parts`, in the format
    of `EngineOptions.cpu_cores`. None, which is all cores, if there is one group or too few cores.
    """
    every = sorted(os.sched_getaffinity(0))
    if groups == 1 or len(every) < groups * parts:
        return [None] * groups
    shares = cores_of_parts(groups * parts, every)
    written = [",".join(map(str, share)) for share in shares]
    return ["|".join(written[start : start + parts]) for start in range(0, len(written), parts)]


def engine_arguments(options: EngineOptions) -> "AsyncEngineArgs":
    from vllm.config import PoolerConfig
    from vllm.engine.arg_utils import AsyncEngineArgs

    token_wise = options.task == "token_embed"
    # Its input is token ids. Only the conversion of Qwen3-Reranker to a classifier looks two words up; otherwise the
    # tokenizer would only take memory (1.2 GB with a vocabulary of 250,000).
    needs_tokenizer = options.task == "classify"
    return AsyncEngineArgs(
        model=str(options.model),
        served_model_name=options.name,
        runner="pooling",
        skip_tokenizer_init=not needs_tokenizer,
        dtype=options.dtype or _dtype(),
        max_model_len=options.max_model_len,
        max_num_batched_tokens=max(options.max_num_batched_tokens, options.max_model_len),
        max_num_seqs=options.max_num_seqs,
        gpu_memory_utilization=options.memory_share,
        kv_cache_memory_bytes=options.kv_cache_bytes,
        tensor_parallel_size=options.tensor_parallel,  # above 1, vLLM computes in one process per device
        # None: vLLM decides, which caches only for causal models that pool the last token.
        enable_prefix_caching=None if options.prefix_caching and not token_wise else False,
        scheduling_policy="priority",
        async_scheduling=options.portion_tokens is not None,
        pooler_config=PoolerConfig(task="token_embed") if token_wise else None,
        hf_overrides=dict(options.hf_overrides),
        load_format=options.load_format,
        block_size=options.block_size,
        enforce_eager=options.enforce_eager,
        cudagraph_capture_sizes=None if options.graph_capture_sizes is None else list(options.graph_capture_sizes),
        additional_config=dict(options.additional_config),
        disable_log_stats=True,
        use_tqdm_on_load=False,
    )


def engine_config(options: EngineOptions) -> "VllmConfig":
    """Returns vLLM's configuration for `engine_arguments`. Looks up the model's class in a process of vLLM's, which may
    take half a minute the first time; uses no device memory.
    """
    from vllm.usage.usage_lib import UsageContext

    config = engine_arguments(options).create_engine_config(UsageContext.ENGINE_CONTEXT)
    if options.whole_graphs:
        from vllm.v1.attention.backends.fa_utils import get_flash_attn_version  # exists on CUDA, not on every platform

        capture_whole_steps(config, get_flash_attn_version())
    return config


def capture_whole_steps(config: "VllmConfig", flash_attention: int | None) -> None:
    """Sets graph options that vLLM's arguments do not offer for a pooling model. Only FlashAttention 3 takes batches of
    every shape from a graph, and only causal models have been tested.
    """
    from vllm.config import CUDAGraphMode

    graphs = config.compilation_config
    by_pieces = graphs.cudagraph_mode is CUDAGraphMode.PIECEWISE
    if by_pieces and flash_attention == 3 and config.model_config.attn_type == "decoder":
        graphs.cudagraph_mode = CUDAGraphMode.FULL
        # More would reserve buffers for that many times a step's outputs, for the benefit of a few long texts.
        config.attention_config.flash_attn_max_num_splits_for_cuda_graph = 1


def _dtype() -> Literal["bfloat16", "float32"]:
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return "bfloat16"
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
    return "bfloat16" if flags & {"avx512_bf16", "amx_bf16", "bf16"} else "float32"  # the last one is the name on ARM
