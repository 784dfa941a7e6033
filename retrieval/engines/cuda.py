"""What engines on NVIDIA GPUs are started with besides what their models ask for. Pure."""

from dataclasses import replace

from retrieval.engines.vllm_options import EngineOptions

GRAPH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
"""Tokens of a step. vLLM's own sizes end at 512, and a step above the last of them is launched kernel by kernel, which
takes the processor longer than it takes the GPU: steps of 2,048 tokens make 238,000 tokens a second instead of 89,000,
of 4,096 tokens 293,000 instead of 202,000 (one H200, Qwen3 0.6B). Such steps are what ingestion computes while searches
are about."""
BLOCK_TOKENS = 32
"""Of the KV cache. Half as many blocks as by default are hashed and booked for a pool of candidates, and the prefix
that they share is found to within as many tokens."""
EMBED_PORTION_TOKENS = 4096
"""The largest graph. One engine embeds 446,000 tokens a second so, in portions of 8,192 405,000, and 369,000 where it
prepares and computes in turn (texts of 256 tokens, one H200, Qwen3 0.6B). A rerank gains nothing by it, and loses where
its steps become small."""


def cuda_options(options: EngineOptions) -> EngineOptions:
    portion = EMBED_PORTION_TOKENS if options.task == "embed" else None
    return replace(options, graph_capture_sizes=GRAPH_SIZES, block_size=BLOCK_TOKENS, portion_tokens=portion)
