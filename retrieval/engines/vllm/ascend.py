"""The options of an engine on Ascend NPUs, by the release of vllm-ascend and by the chip.

vllm-ascend sets its allocator and its operators itself; this module sets what it leaves to its users, or what some
release sets wrongly. The numbers after # are issues and pull requests of vllm-project/vllm-ascend.
"""

from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version

from packaging.version import Version

from retrieval.device.npu_smi import Npu
from retrieval.device.planner import DeviceMemory
from retrieval.engines.vllm.options import EngineOptions
from retrieval.errors import Unsupported
from retrieval.models.profiles import Model

CACHE_FIXED_IN = Version("0.18.0")
"""In earlier releases a prompt from the prefix cache gives another vector, cosine 0.58 (#5725, fixed by #7452)."""
MEMORY_FIXED_IN = Version("0.18.0")
"""In earlier releases the second engine of a device gets no memory for its KV cache (#7308, fixed by #7427)."""

GRAPH_SIZES = (8, 16, 32, 48, 64, 96, 128, 192, 256, 512)
"""Tokens of a step that graphs are captured for. A graph takes one stream of the device for each of the model's layers,
and a device has 2,048 for all of its engines: by default each of two engines would take a thousand and more, and the
second fail (#5650). Ten sizes take 370 of a model of 36 layers. They are those of questions and of small reranks;
larger steps run without a graph."""
GRAPH_SIZES_310P = (512, 1024)
"""Sizes of vllm-ascend's pages on the Qwen3 models: a 310P has fewer streams."""
WINDOW_310P = 1024
"""Tokens. Its attention takes a mask as large as the window squared; vllm-ascend's pages recommend this window."""

DRIVER_PART = 0.05
"""Fraction of a chip's memory that programs cannot use: torch_npu sees 60.96 of an A2's 64 GiB and 61.27 of an A3's.
npu-smi counts it as used: 2.8 to 3.4 GiB of an idle chip.
"""

_OVERFLOWING_DIMENSION = 4096
"""Dimension of Qwen3-Embedding-8B, whose activations overflow in float16 (Qwen3-Embedding issue 164)."""


@dataclass(frozen=True, slots=True)
class KnownFault:
    """A known fault of the installed combination."""

    text: str
    """The effect, and the remedy."""
    fatal: bool
    """Whether a node cannot start with it."""


def is_310p(chip: str | None) -> bool:
    """Returns whether the chip is a 310P. `chip` is its name in npu-smi's output; an unknown chip counts as one of the
    910 series.
    """
    return chip is not None and chip.removeprefix("Ascend").startswith("310P")


def memory_for_programs(npu: Npu) -> DeviceMemory:
    """Returns the memory as vLLM sees it, which its shares refer to. The name contains the number that
    ASCEND_RT_VISIBLE_DEVICES uses.
    """
    kept = round(npu.hbm_total_bytes * DRIVER_PART)
    used = max(0, npu.hbm_used_bytes - kept)
    return DeviceMemory(npu.hbm_total_bytes - kept, used, f"NPU device {npu.device}, {npu.name}")


def default_window(window: int, chip: str | None) -> int:
    """Returns the window in tokens to serve if no setting states one. `window` is that of the model's profile."""
    return min(window, WINDOW_310P) if is_310p(chip) else window


def refused_embedder(model: Model, chip: str | None) -> str | None:
    """Returns the reason why `chip` cannot embed with `model`, whose facts are known; None if it can."""
    if is_310p(chip) and model.family == "qwen3" and model.dimension == _OVERFLOWING_DIMENSION:
        return (
            f"{model.name} overflows in float16, and a {chip} computes in nothing wider: "
            "take Qwen3-Embedding-4B or -0.6B, or an NPU of the 910 series"
        )
    return None


def ascend_options(options: EngineOptions, model: Model, release: Version, chip: str | None) -> EngineOptions:
    """Returns `options` adapted to `release` of vllm-ascend on `chip`. The facts of `model` are known.

    Raises Unsupported: a 310P computes in float16 only, which Qwen3-Embedding-8B overflows.
    """
    if is_310p(chip):
        if options.task == "embed" and (reason := refused_embedder(model, chip)):
            raise Unsupported(reason, model=options.name)
        options = replace(
            options,
            dtype="float16",
            graph_capture_sizes=GRAPH_SIZES_310P,
            additional_config={**options.additional_config, "ascend_compilation_config": {"fuse_norm_quant": False}},
        )
    else:
        options = replace(options, dtype="bfloat16", graph_capture_sizes=GRAPH_SIZES)
    return replace(options, prefix_caching=options.prefix_caching and release >= CACHE_FIXED_IN)


def known_faults(release: Version, vllm: Version | None, chip: str | None) -> tuple[KnownFault, ...]:
    """Returns the known faults of this combination. `vllm` is the installed version, None if there is none."""
    faults = []
    if vllm is None:
        faults.append(KnownFault("vLLM is not installed: use the image that contains both", fatal=True))
    elif vllm.release[:3] != release.release[:3]:
        faults.append(
            KnownFault(f"made for vLLM {release.base_version}, found {vllm}: use two of one number", fatal=False)
        )
    if release < MEMORY_FIXED_IN:
        faults.append(
            KnownFault(
                f"before {MEMORY_FIXED_IN} the second engine of a device gets no memory: "
                f"use {MEMORY_FIXED_IN} or newer",
                fatal=True,
            )
        )
    if release < CACHE_FIXED_IN:
        faults.append(
            KnownFault(f"its prefix cache corrupts vectors before {CACHE_FIXED_IN}, and is switched off", fatal=False)
        )
    if is_310p(chip):
        faults.append(
            KnownFault(
                "a 310P counts the first engine's memory against the second (#14275): give the reranker the larger "
                "share, TANDEM_EMBED_MEMORY_SHARE=0.3 and TANDEM_RERANK_MEMORY_SHARE=0.6",
                fatal=False,
            )
        )
    return tuple(faults)


def vllm_ascend_release() -> Version | None:
    """Returns the release of the installed vllm-ascend; None if there is none."""
    try:
        return Version(version("vllm-ascend"))
    except PackageNotFoundError:
        return None
