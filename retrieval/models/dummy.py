"""Model folders without weights: shapes and a tokenizer, for engines with random weights (load format `dummy`).

They measure a machine's speed where no model is available. Their results are meaningless.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from retrieval.errors import ConfigurationError
from retrieval.models.profiles import FAMILIES
from retrieval.text.prompts import prompt_texts
from retrieval.text.qwen3_tokenizer import END_OF_TEXT, embedding_tokenizer, trained_tokenizer

_COMMON: Mapping[str, object] = {
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "head_dim": 128,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "max_position_embeddings": 32768,
    "model_type": "qwen3",
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": None,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 151669,
}


def _shape(hidden: int, intermediate: int, layers: int, heads: int, *, tied: bool) -> Mapping[str, object]:
    return {
        **_COMMON,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "tie_word_embeddings": tied,
    }


SHAPES: Mapping[str, Mapping[str, object]] = {
    "qwen3-0.6b": _shape(1024, 3072, 28, 16, tied=True),
    "qwen3-4b": _shape(2560, 9728, 36, 32, tied=True),
    "qwen3-8b": _shape(4096, 12288, 36, 32, tied=False),
}
"""config.json by the name of the pair. Source: the published models' files."""


@dataclass(frozen=True, slots=True)
class DummyPair:
    embed: Path
    rerank: Path


def write_dummy_pair(shape: str, target: Path, *, texts: Iterable[str]) -> DummyPair:
    """Writes two folders in `target`, for the pair named `shape` or for a folder's config.json. Every word of `texts`
    becomes one token. Raises ConfigurationError.
    """
    config = SHAPES[shape] if shape in SHAPES else _read_shape(Path(shape))
    name = shape if shape in SHAPES else Path(shape).resolve().name
    tokenizer = trained_tokenizer([*texts, *prompt_texts()])
    if tokenizer.get_vocab_size() > int(str(config["vocab_size"])):
        raise ConfigurationError(f"{shape}: a vocabulary of {config['vocab_size']} is too small for the tokenizer.")
    pair = DummyPair(target / f"{name}-embedding", target / f"{name}-reranker")
    _write(pair.embed, config, embedding_tokenizer(tokenizer))
    _write(pair.rerank, config, tokenizer)
    pooling = {"word_embedding_dimension": config["hidden_size"], "pooling_mode_lasttoken": True}
    modules = ("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")
    (pair.embed / "1_Pooling").mkdir()
    (pair.embed / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    listed = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for place, (kind, path) in enumerate(modules)
    ]
    (pair.embed / "modules.json").write_text(json.dumps(listed))
    return pair


def _read_shape(folder: Path) -> Mapping[str, object]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        known = config["model_type"] == FAMILIES["qwen3"] and {"hidden_size", "vocab_size"} <= config.keys()
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise ConfigurationError(
            f"--dummy-weights {folder}: neither one of {', '.join(SHAPES)} nor a folder with a Qwen3 config.json."
        )
    return {**config, "architectures": _COMMON["architectures"]}


def _write(folder: Path, config: Mapping[str, object], tokenizer: Tokenizer) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": END_OF_TEXT})
    )
