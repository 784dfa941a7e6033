"""The options of engines on NVIDIA GPUs, in addition to those that their models need. Pure."""

from collections.abc import Mapping
from dataclasses import replace

from retrieval.engines.vllm.options import EngineOptions, EngineTask

GRAPH_SIZES = (
    *(1, 2, 4, 8, 16, 32, 64, 128, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096),
    *(5120, 6144, 7168, 8192),
)
"""Tokens of a step. vLLM's own sizes end at 512, and a step above the last of them is launched kernel by kernel, which
takes the processor longer than it takes the GPU: steps of 2,048 tokens make 238,000 tokens a second instead of 89,000,
of 4,096 tokens 293,000 instead of 202,000 (one H200, Qwen3 0.6B). A step is filled up to the next size, so the large
ones are not far from each other. They end at what the embedder is given at a time."""
BLOCK_TOKENS = 32
"""Block size of the KV cache. Half as many blocks as by default are hashed and allocated for a pool of candidates, and
the shared prefix is found with this granularity.
"""
PORTION_TOKENS: Mapping[EngineTask, int] = {"embed": 8192, "classify": 8192}
"""Steps that a graph is captured for. One engine embeds 471,000 to 474,000 tokens a second so, 346,000 to 431,000 in
portions of 4,096, and 420,000 to 461,000 in portions of 16,384 (texts of 256 tokens, one H200, Qwen3 0.6B, two turns on
one machine). 100 candidates of 258 tokens and a prefix of 110 take 75 ms in quarters, 85 and 86 in halves and in one,
which no graph is captured for; 50 take 40 to 42 in halves and in quarters, 44 to 49 in one (another H200, twice)."""

SLICES_AHEAD = 3
"""Slices of the gate: one is computed, the next is prepared, and the third is in transit. During searches ingestion
reached 0.77 of its rate with three, 0.69 with two and 0.71 with one (on another H200: 0.46, 0.38 and 0.42).
"""


def cuda_options(options: EngineOptions) -> EngineOptions:
    return replace(
        options,
        graph_capture_sizes=GRAPH_SIZES,
        # A step of 30 tokens takes 5 ms instead of 12 to 15 so, and one of 1,024 tokens 8 instead of 14 to 16: to
        # launch each layer's attention by itself took the processor longer than the GPU (one H200, Qwen3 0.6B).
        whole_graphs=True,
        block_size=BLOCK_TOKENS,
        portion_tokens=PORTION_TOKENS.get(options.task),
    )
