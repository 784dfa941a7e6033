"""Computes the device memory of one engine, part by part, within given limits, from the model's shape.

vLLM reads two of the figures. `gpu_memory_utilization` is a share of the device's WHOLE memory for each instance, and
vLLM refuses to start unless that much is free. `kv_cache_memory_bytes` states the size of the cache, so that vLLM does
not derive it from the memory that happens to be free while another engine uses the device. The second does not switch
off the first one's check.
"""

from dataclasses import dataclass
from math import ceil

from retrieval.models.shapes import ModelShape

CONTEXT_BYTES = 1_000_000_000
"""Memory of a process on the device that PyTorch does not allocate: driver context, kernels, cuBLAS. It is outside of
vLLM's share. Measured, with the graphs, on one H200 (vLLM 0.26, Qwen3 0.6B): 1.3 GB.
"""
HELD_ACTIVATIONS = 1.7
"""Memory that PyTorch's allocator holds, relative to what is in use at once. Measured on the same H200 between steps of
16,384 and 32,768 tokens.
"""
COMMUNICATION_BYTES = 500_000_000
"""Buffers for exchange between devices, where a model is split over several. Outside of the share as well."""
GRAPH_PIECE_BYTES = 200_000
"""Memory of one captured graph. vLLM captures a step in pieces between the attentions, one more than there
are layers.
"""
GRAPH_SIZES = 21
"""Step sizes that are captured on NVIDIA GPUs; fewer on Ascend NPUs."""
BLOCK_TOKENS = 128
"""The cache is counted in blocks, of 16 tokens on CUDA and 128 on Ascend; one block is never used."""
MAX_SEQUENCES = 256
"""Inputs in one step, however short: vLLM's `max_num_seqs`."""
PASSAGE_TOKENS = 512
"""A chunk of the default length."""


@dataclass(frozen=True, slots=True)
class EngineDemand:
    """One engine and the load that it serves."""

    role: str
    """Name for readers: `embedder`, `reranker`."""
    model: str
    shape: ModelShape
    window: int
    """Tokens of the longest input."""
    share: float | None = None
    """Share of the device's whole memory, if it is prescribed; the cache then takes the rest of it."""
    drops_head: bool = False
    """Whether a language model's head is loaded before a reranker is made of two of its rows."""
    cached_steps: float = 1.5
    """Number of steps that the cache holds if there is room, but at least the longest input: two if a step is prepared
    while another one is computed. The inputs of at most that many steps are in process.
    """


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that apply to all engines of a plan."""

    window: int
    step_tokens: int
    """Tokens of a step, at least `window`: inputs are never computed in pieces."""
    roomy: bool
    """Whether the cache holds the steps that are wanted in it; else one input."""


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """The memory of one engine within the limits, in bytes of one device."""

    role: str
    model: str
    weight_format: str
    weight_bytes: int
    kv_cache_bytes: int
    activation_bytes: int
    graph_bytes: int
    context_bytes: int
    max_model_len: int
    max_num_batched_tokens: int
    cached_tokens: int
    """Tokens that the cache holds; 0 if the model has no cache."""
    share: float
    """`gpu_memory_utilization`."""
    prescribed: bool
    """Whether the share was prescribed. The engine then sizes its cache itself, from the memory that is
    planned here.
    """
    fits_share: bool
    """False where a prescribed share is too small for one input."""

    @property
    def share_bytes(self) -> int:
        """Bytes that the engine's share of the device has to hold."""
        return self.weight_bytes + self.kv_cache_bytes + self.activation_bytes + self.graph_bytes

    @property
    def total_bytes(self) -> int:
        return self.share_bytes + self.context_bytes

    @property
    def kv_cache_memory_bytes(self) -> int | None:
        """Bytes of the KV cache as vLLM's option states them; None: vLLM measures them."""
        return None if self.prescribed else self.kv_cache_bytes or None

    @property
    def full_inputs_at_once(self) -> int:
        return min(MAX_SEQUENCES, (self.cached_tokens or self.max_num_batched_tokens) // self.max_model_len)

    @property
    def passages_at_once(self) -> int:
        """Number of passages that one step holds. A passage has the default length, or the window's where that is
        shorter.
        """
        tokens = min(self.max_num_batched_tokens, self.cached_tokens or self.max_num_batched_tokens)
        return min(MAX_SEQUENCES, tokens // min(PASSAGE_TOKENS, self.max_model_len))


def plan_engine(demand: EngineDemand, limits: Limits, total_bytes: int, devices: int = 1) -> EnginePlan:
    """Plans one engine. `total_bytes` is the whole memory of a device. `devices` is the number of identical devices
    that the model is split over. Raises ConfigurationError if it cannot be split over that many.
    """
    shape = demand.shape.split(devices)
    window = min(demand.window, limits.window, shape.positions)
    step = limits.step_tokens
    weights, activations = shape.weight_bytes, round(HELD_ACTIVATIONS * shape.activation_bytes(step))
    graphs = GRAPH_SIZES * (shape.layers + 1) * GRAPH_PIECE_BYTES
    block_bytes = BLOCK_TOKENS * shape.kv_bytes_per_token
    cached = max(window, demand.cached_steps * step) if limits.roomy else window
    cache = (ceil(cached / BLOCK_TOKENS) + 1) * block_bytes
    if demand.drops_head and block_bytes:
        # While the model is loaded, the head uses memory that the cache uses later.
        cache = max(cache, ceil(shape.head_bytes / block_bytes) * block_bytes)
    share, fits_share = ceil((weights + cache + activations + graphs) / total_bytes * 1e4) / 1e4, True
    if demand.share is not None:
        left = int(demand.share * total_bytes) - weights - activations - graphs
        share, fits_share = demand.share, left >= cache
        if fits_share and block_bytes:
            cache = left // block_bytes * block_bytes
    return EnginePlan(
        role=demand.role,
        model=demand.model,
        weight_format=shape.weights.name,
        weight_bytes=weights,
        kv_cache_bytes=cache,
        activation_bytes=activations,
        graph_bytes=graphs,
        context_bytes=CONTEXT_BYTES + (COMMUNICATION_BYTES if devices > 1 else 0),
        max_model_len=window,
        max_num_batched_tokens=step,
        cached_tokens=(cache // block_bytes - 1) * BLOCK_TOKENS if block_bytes else 0,
        share=share,
        prescribed=demand.share is not None,
        fits_share=fits_share,
    )
