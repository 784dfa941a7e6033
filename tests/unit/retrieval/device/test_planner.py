"""Plans over the models, formats and devices that people have."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, product

import pytest

from retrieval.device import engine_memory
from retrieval.device.alternatives import alternatives
from retrieval.device.engine_memory import BLOCK_TOKENS, EngineDemand
from retrieval.device.planner import DeviceMemory, Plan, plan
from retrieval.engines.vllm import ascend, cuda
from retrieval.errors import ConfigurationError
from retrieval.models.shapes import BFLOAT16, FP8, INT4, KNOWN_SHAPES, WeightFormat

GB = 10**9
MEMORIES = (8, 10, 12, 15, 16, 20, 24, 32, 40, 48, 64, 80, 96, 141)
SIZES = ("0.6B", "4B", "8B")
FORMATS = (BFLOAT16, FP8, INT4)
GRID = list(product(SIZES, FORMATS, (1, 2, 4)))
WORSE_TO_BETTER = ("does_not_fit", "fits_with_limits", "fits")


def pair(size: str, weights: WeightFormat = BFLOAT16, window: int = 8192) -> list[EngineDemand]:
    embed, rerank = (
        replace(KNOWN_SHAPES[f"Qwen/Qwen3-{role}-{size}"], weights=weights) for role in ("Embedding", "Reranker")
    )
    return [
        EngineDemand("embedder", f"embed-{size}", embed, window),
        EngineDemand("reranker", f"rerank-{size}", rerank, window, drops_head=True, cached_steps=2),
    ]


def planned(
    demands: Sequence[EngineDemand], gb: float, devices: int = 1, *, fixed: bool = False, used: int = 0
) -> Plan:
    device = DeviceMemory(int(gb * GB), used_bytes=used, count=devices)
    return plan(demands, device, step_tokens=16384, window_is_fixed=fixed, tensor_parallel=devices)


@pytest.mark.parametrize(("size", "weights", "devices"), GRID)
def test_what_fits_really_does(size: str, weights: WeightFormat, devices: int) -> None:
    for gb in MEMORIES:
        found = planned(pair(size, weights), gb, devices)
        if not found.fits:
            continue
        assert sum(engine.share for engine in found.engines) < 1
        assert found.needed_bytes <= found.device.usable_bytes < found.device.total_bytes
        for engine in found.engines:
            # What vLLM demands to be free before it starts, and what it needs then.
            assert engine.share * found.device.total_bytes >= engine.share_bytes
            assert engine.cached_tokens >= engine.max_model_len
            assert engine.kv_cache_memory_bytes == engine.kv_cache_bytes
            assert engine.max_num_batched_tokens >= engine.max_model_len >= 1024
            assert engine.full_inputs_at_once >= 1
            assert engine.passages_at_once >= 1


@pytest.mark.parametrize(("size", "weights", "devices"), GRID)
def test_more_memory_never_yields_less(size: str, weights: WeightFormat, devices: int) -> None:
    plans = [planned(pair(size, weights), gb / 2, devices) for gb in range(16, 2 * 141)]
    for less, more in pairwise(plans):
        assert WORSE_TO_BETTER.index(less.verdict) <= WORSE_TO_BETTER.index(more.verdict)
        if less.fits:
            for before, after in zip(less.engines, more.engines, strict=True):
                assert before.max_model_len <= after.max_model_len
                assert before.max_num_batched_tokens <= after.max_num_batched_tokens
                assert before.cached_tokens <= after.cached_tokens
                assert before.total_bytes <= after.total_bytes


def least_memory(size: str, weights: WeightFormat, devices: int = 1) -> float:
    return next(gb / 4 for gb in range(8, 1000) if planned(pair(size, weights), gb / 4, devices).fits)


def test_smaller_models_tighter_formats_and_more_devices_need_less() -> None:
    needs = {(size, weights.name): least_memory(size, weights) for size in SIZES for weights in FORMATS}
    for weights in FORMATS:
        assert needs["0.6B", weights.name] < needs["4B", weights.name] < needs["8B", weights.name]
    for size in SIZES:
        assert needs[size, "int4"] < needs[size, "fp8"] < needs[size, "bfloat16"]
        assert least_memory(size, BFLOAT16, 4) < least_memory(size, BFLOAT16, 2) < needs[size, "bfloat16"]


def test_what_the_handbook_says() -> None:
    assert planned(pair("0.6B"), 8).fits
    assert not planned(pair("4B"), 16).fits
    assert planned(pair("4B"), 24).fits
    assert not planned(pair("8B"), 32).fits
    assert planned(pair("8B"), 40).fits
    assert planned(pair("4B", INT4), 12).fits
    mixed = [pair("0.6B")[0], pair("4B")[1]]
    assert planned(mixed, 24).verdict == "fits"


def test_wanted_limits_on_a_large_device() -> None:
    found = planned(pair("0.6B"), 141)
    assert (found.verdict, found.limits) == ("fits", ())
    engine, reranker = found.engines
    assert reranker.cached_tokens == 2 * reranker.max_num_batched_tokens == 32768
    assert (engine.max_model_len, engine.max_num_batched_tokens, engine.cached_tokens) == (8192, 16384, 24576)
    assert (engine.full_inputs_at_once, engine.passages_at_once) == (3, 32)
    assert engine.kv_cache_bytes == (24576 + BLOCK_TOKENS) * 112 * 1024
    assert engine.weight_bytes == pytest.approx(1.19e9, rel=0.01)


def test_limits_are_told_in_words() -> None:
    found = planned(pair("4B"), 21)
    assert found.verdict == "fits_with_limits"
    assert found.limits == (
        "a window of 2,048 tokens instead of 8,192",
        "steps of 2,048 tokens instead of 16,384",
        "a cache of 3,072 tokens instead of 24,576",
    )
    assert found.message == f"Fits with these limits: {'; '.join(found.limits)}. 20.0 of 21.0 GB."


def test_steps_are_shortened_before_the_cache_and_the_cache_before_the_window() -> None:
    seen = []
    for gb in range(4 * 141, 4 * 18, -1):
        engine = planned(pair("4B"), gb / 4).engines[0]
        figures = (engine.max_model_len, engine.max_num_batched_tokens, engine.cached_tokens)
        if figures not in seen:
            seen.append(figures)
    assert seen[:4] == [(8192, 16384, 24576), (8192, 8192, 12288), (8192, 8192, 8192), (4096, 4096, 6144)]


def test_a_fixed_window_is_kept_or_refused() -> None:
    found = planned(pair("4B"), 20, fixed=True)
    assert found.verdict == "does_not_fit"
    assert {engine.max_model_len for engine in found.engines} == {8192}


@pytest.mark.parametrize("window", [64, 500, 1500, 32768])
def test_any_window_gets_a_cache_that_holds_it(window: int) -> None:
    for gb in (8, 12, 80):
        found = planned(pair("0.6B", window=window), gb, fixed=True)
        if found.fits:
            assert all(engine.max_model_len == window <= engine.cached_tokens for engine in found.engines)
            assert all(engine.max_num_batched_tokens >= window for engine in found.engines)
    assert planned(pair("0.6B", window=window), 80, fixed=True).fits


def test_every_graph_that_is_captured_is_planned_for() -> None:
    assert len(cuda.GRAPH_SIZES) == engine_memory.GRAPH_SIZES >= len(ascend.GRAPH_SIZES)


def test_windows_end_where_the_model_does() -> None:
    shape = KNOWN_SHAPES["sentence-transformers/all-MiniLM-L6-v2"]
    found = planned([EngineDemand("embedder", "minilm", shape, 8192)], 8)
    assert found.engines[0].max_model_len == 512
    assert found.engines[0].kv_cache_memory_bytes is None
    assert found.engines[0].full_inputs_at_once == 32


def test_a_dropped_head_has_room_while_the_model_loads() -> None:
    """Qwen3-Reranker-8B's head takes 1.24 GB before the cache does."""
    tight = planned(pair("8B"), 36)
    assert tight.fits
    assert tight.engines[1].kv_cache_bytes >= KNOWN_SHAPES["Qwen/Qwen3-Reranker-8B"].head_bytes > 1.2e9
    assert tight.engines[0].kv_cache_bytes < 1.2e9


def test_memory_in_use_counts() -> None:
    assert planned(pair("0.6B"), 24).verdict == "fits"
    assert planned(pair("0.6B"), 24, used=15 * GB).verdict == "fits_with_limits"
    refused = planned(pair("0.6B"), 24, used=20 * GB)
    assert not refused.fits
    assert refused.message.endswith("and 3.5 of 24.0 GB can be used.")


def test_a_prescribed_share_is_kept() -> None:
    embed, rerank = pair("0.6B")
    found = planned([replace(embed, share=0.5), rerank], 24)
    assert found.verdict == "fits"
    engine = found.engines[0]
    assert (engine.share, engine.kv_cache_memory_bytes) == (0.5, None)
    assert 11.9 * GB < engine.share_bytes <= 12 * GB  # the cache takes the rest


def test_a_prescribed_share_that_is_too_small_is_told() -> None:
    embed, rerank = pair("4B")
    found = planned([replace(embed, share=0.2), rerank], 32)
    assert found.message == "Does not fit: the embedder's share 0.2 is 6.4 GB, and it needs 8.5 GB at the least."


def test_prescribed_shares_that_are_too_much_together() -> None:
    assert not planned([replace(each, share=0.5) for each in pair("0.6B")], 24).fits
    assert planned([replace(each, share=0.44) for each in pair("0.6B")], 24).fits


def test_a_model_that_cannot_be_split() -> None:
    with pytest.raises(ConfigurationError, match="cannot be split over 3 devices"):
        planned(pair("4B"), 24, 3)


def advised(
    demands: Sequence[EngineDemand], gb: float, *, fixed: bool = False, used: int = 0, offered: Sequence[str] = ()
) -> list[str]:
    failed = planned(demands, gb, fixed=fixed, used=used)
    assert not failed.fits
    pairs = {f"qwen3-{size.lower()}": pair(size) for size in offered}
    return list(alternatives(failed, demands, pairs, step_tokens=16384, window_is_fixed=fixed))


def test_what_to_do_instead() -> None:
    assert advised(pair("4B"), 16, offered=["0.6B"]) == [
        "FP8 checkpoints of the same models (TANDEM_EMBED_MODEL, TANDEM_RERANK_MODEL)",
        "TANDEM_MODELS=qwen3-0.6b, which takes 12.7 GB here",
        "2 such devices, and TANDEM_TENSOR_PARALLEL=2",
        "a device of 24 GB",
    ]


def test_only_advice_that_works_is_given() -> None:
    assert advised(pair("8B"), 8, offered=["4B", "0.6B"]) == [
        "TANDEM_MODELS=qwen3-0.6b, which takes 7.3 GB here",
        "8 such devices, and TANDEM_TENSOR_PARALLEL=8",
        "a device of 40 GB",
    ]


def test_the_smallest_change_comes_first() -> None:
    first = "end what holds 20.0 GB of the device now"
    assert advised(pair("0.6B"), 24, used=20 * GB)[0] == first
    prescribed = [replace(each, share=0.1) for each in pair("4B")]
    shares = "leave TANDEM_EMBED_MEMORY_SHARE and TANDEM_RERANK_MEMORY_SHARE to the plan"
    assert advised(prescribed, 32)[0] == shares
    assert advised(pair("4B", window=16384), 24, fixed=True)[0] == "TANDEM_MAX_MODEL_LEN=8192"


def on_devices(demands: Sequence[EngineDemand], gb: float, count: int, split: int) -> tuple[Plan, list[str]]:
    device = DeviceMemory(int(gb * GB), count=count)
    found = plan(demands, device, step_tokens=16384, tensor_parallel=split)
    return found, list(alternatives(found, demands, {}, step_tokens=16384, window_is_fixed=False))


def test_devices_that_are_here_are_offered() -> None:
    assert "TANDEM_TENSOR_PARALLEL=2" in on_devices(pair("4B"), 16, count=4, split=1)[1]


def test_what_to_do_with_fewer_devices_than_parts() -> None:
    wanted = "4 such devices that this process may use (CUDA_VISIBLE_DEVICES, ASCEND_RT_VISIBLE_DEVICES)"
    found, told = on_devices(pair("0.6B"), 24, count=2, split=4)
    assert (found.fits, told) == (False, ["TANDEM_TENSOR_PARALLEL=1", wanted])
    assert found.message == (
        "Does not fit: each model is to be split over 4 devices (TANDEM_TENSOR_PARALLEL), and this process may use 2."
    )
    assert on_devices(pair("8B"), 24, count=2, split=4)[1] == ["TANDEM_TENSOR_PARALLEL=2", wanted]
    assert on_devices(pair("8B"), 16, count=1, split=4)[1] == [wanted]
    assert on_devices(pair("4B"), 16, count=4, split=4)[0].fits


@pytest.mark.parametrize(("size", "weights"), list(product(SIZES, FORMATS)))
def test_every_refusal_says_what_to_do(size: str, weights: WeightFormat) -> None:
    for gb in MEMORIES:
        if not planned(pair(size, weights), gb).fits:
            assert advised(pair(size, weights), gb)
