"""What engines get on an NPU, by the release of vllm-ascend and by the chip."""

from dataclasses import replace
from pathlib import Path

import pytest
from packaging.version import Version

from retrieval.engines.vllm.ascend import (
    GRAPH_SIZES,
    ascend_options,
    default_window,
    is_310p,
    known_faults,
    refused_embedder,
)
from retrieval.engines.vllm.options import EngineOptions
from retrieval.errors import Unsupported
from retrieval.models.profiles import profile

OPTIONS = EngineOptions(name="m", model=Path("m"), task="embed", max_model_len=8192, memory_share=0.45)
SMALL, LARGE = profile("qwen3-0.6b"), profile("qwen3-8b")
NOW = Version("0.23.0")


@pytest.mark.parametrize(
    ("release", "cached"),
    [
        ("0.13.0", False),
        ("0.17.0rc1", False),
        ("0.18.0rc1", False),  # a candidate from before the release is not trusted
        ("0.18.0", True),
        ("0.19.1rc1", True),
        ("0.23.0.post1", True),
        ("0.25.1rc1", True),
    ],
)
def test_prefixes_are_cached_since_0_18(release: str, cached: bool) -> None:
    assert ascend_options(OPTIONS, SMALL.embed, Version(release), "910B4").prefix_caching is cached
    off = replace(OPTIONS, prefix_caching=False)
    assert ascend_options(off, SMALL.embed, Version(release), "910B4").prefix_caching is False


@pytest.mark.parametrize("chip", ["910B4-1", "Ascend910", None])
def test_the_910_series_and_a_chip_that_is_not_known_compute_in_bfloat16(chip: str | None) -> None:
    options = ascend_options(OPTIONS, LARGE.embed, NOW, chip)
    assert options == replace(OPTIONS, dtype="bfloat16", graph_capture_sizes=GRAPH_SIZES)
    assert default_window(8192, chip) == 8192


def test_the_graphs_of_two_engines_fit_the_streams_of_a_device() -> None:
    layers, engines, streams = 36, 2, 2048
    assert engines * len(GRAPH_SIZES) * (layers + 1) < streams // 2
    assert sorted(set(GRAPH_SIZES)) == list(GRAPH_SIZES)


def test_a_310p_computes_in_float16_with_few_graphs_and_a_small_window() -> None:
    options = ascend_options(OPTIONS, SMALL.embed, NOW, "310P3")
    assert (options.dtype, options.graph_capture_sizes) == ("float16", (512, 1024))
    assert options.additional_config == {"ascend_compilation_config": {"fuse_norm_quant": False}}
    assert (default_window(8192, "310P3"), default_window(256, "310P3")) == (1024, 256)


@pytest.mark.parametrize(
    ("chip", "is_one"), [("310P3", True), ("Ascend310P1", True), ("910B3", False), ("310B4", False), (None, False)]
)
def test_which_chips_are_310ps(chip: str | None, is_one: bool) -> None:
    assert is_310p(chip) is is_one


def test_the_8b_embedder_is_refused_on_a_310p_and_nowhere_else() -> None:
    with pytest.raises(Unsupported, match=r"overflows in float16.*Qwen3-Embedding-4B"):
        ascend_options(OPTIONS, LARGE.embed, NOW, "310P3")
    assert ascend_options(replace(OPTIONS, task="classify"), LARGE.rerank, NOW, "310P3").dtype == "float16"
    assert refused_embedder(profile("qwen3-4b").embed, "310P3") is None
    assert refused_embedder(LARGE.embed, "910B4") is None


@pytest.mark.parametrize(
    ("release", "vllm", "chip", "told"),
    [
        ("0.23.0", "0.23.0", "910B4", []),
        ("0.23.0.post1", "0.23.0+empty", "910B4", []),
        ("0.22.1rc1", "0.22.1", "910B4", []),
        ("0.23.0", "0.26.0", "910B4", [(False, "made for vLLM 0.23.0, found 0.26.0")]),
        ("0.23.0", None, "910B4", [(True, "vLLM is not installed")]),
        ("0.13.0", "0.13.0", None, [(True, "gets no memory"), (False, "prefix cache corrupts vectors")]),
        ("0.23.0", "0.23.0", "310P3", [(False, "TANDEM_RERANK_MEMORY_SHARE=0.6")]),
    ],
)
def test_known_faults(release: str, vllm: str | None, chip: str | None, told: list[tuple[bool, str]]) -> None:
    faults = known_faults(Version(release), Version(vllm) if vllm else None, chip)
    assert [fault.fatal for fault in faults] == [fatal for fatal, _ in told]
    assert all(words in fault.text for fault, (_, words) in zip(faults, told, strict=True))
