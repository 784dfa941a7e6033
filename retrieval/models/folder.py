"""The parts of a model's folder that adapters need in addition to its weights: configuration, tokenizer, identity."""

from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from json import loads
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from retrieval.errors import ConfigurationError, ModelUnavailable
from retrieval.types import TextKind


def read_config(model: Path) -> Mapping[str, object]:
    """Returns the model's config.json. Raises ModelUnavailable."""
    try:
        config = loads((model / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"The model folder {model.name} has no readable config.json") from error
    assert isinstance(config, dict)
    return config


def read_tokenizer(model: Path) -> Tokenizer:
    """Returns the model's tokenizer, truncation and padding off. Raises ModelUnavailable."""
    file = model / "tokenizer.json"
    if not file.is_file():
        raise ModelUnavailable(f"The model folder {model.name} has no tokenizer.json")
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def read_surprisals(model: Path) -> npt.NDArray[np.float32]:
    """Returns an array of shape (vocabulary,): the negative natural logarithm of each token's probability in a Unigram
    vocabulary, at least 1. Raises ModelUnavailable, ConfigurationError for another kind of vocabulary.
    """
    try:
        stated = loads((model / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    except (OSError, ValueError, KeyError) as error:
        raise ModelUnavailable(f"The model folder {model.name} has no readable tokenizer.json") from error
    if stated.get("type") != "Unigram":
        raise ConfigurationError(f"The vocabulary of {model.name} is of the type {stated.get('type')}, not Unigram")
    # Special tokens have the logarithm 0.
    return np.maximum(-np.array([logarithm for _, logarithm in stated["vocab"]], dtype=np.float32), 1)


def revision(model: Path) -> str:
    """Returns 12 hexadecimal digits over the model's configuration and its weight files' names and sizes. Reading the
    weights themselves takes minutes; their sizes and the index of tensors change with any realistic exchange.
    """
    digest = sha256()
    for name in ("config.json", "model.safetensors.index.json"):
        if (model / name).is_file():
            digest.update((model / name).read_bytes())
    for file in sorted(model.glob("*.safetensors")):
        digest.update(f"{file.name}:{file.stat().st_size};".encode())
    return digest.hexdigest()[:12]


def read_prefixes(model: Path) -> Mapping[TextKind, str]:
    """Returns the prefixes of queries and documents that the model was trained with, as sentence-transformers'
    configuration states them; empty if it states none.
    """
    try:
        stated = loads((model / "config_sentence_transformers.json").read_text(encoding="utf-8")).get("prompts") or {}
    except (OSError, ValueError, AttributeError):
        return {}
    kinds: tuple[tuple[TextKind, str], ...] = (("query", "query"), ("document", "document"))
    found = {kind: stated.get(name) for kind, name in kinds} if isinstance(stated, dict) else {}
    return {kind: prefix for kind, prefix in found.items() if isinstance(prefix, str) and prefix}


def full_dimension(model: Path) -> int:
    """Returns the number of components of the model's untruncated vectors. Raises ModelUnavailable."""
    size = read_config(model).get("hidden_size")
    if not isinstance(size, int):
        raise ModelUnavailable(f"config.json of {model.name} states no hidden_size")
    return size


def matryoshka_dimension(model: Path, dimension: int | None) -> int | None:
    """Returns `dimension` if it is below the full dimension, else None. Raises ModelUnavailable, ConfigurationError
    (above the full dimension).
    """
    whole = full_dimension(model)
    if dimension is not None and not 0 < dimension <= whole:
        raise ConfigurationError(f"dimension is {dimension}; {model.name} has {whole}")
    return None if dimension == whole else dimension


def window_within(model: Path, limit: int) -> int:
    """Returns `limit` in tokens, or the model's number of positions if it is lower. Raises ModelUnavailable."""
    positions = read_config(model).get("max_position_embeddings")
    return min(limit, positions) if isinstance(positions, int) else limit


def stated_window(model: Path, limit: int) -> int:
    """Returns the same, limited further by what the model's tokenizer and its sentence-transformers configuration
    state: servers that take text truncate there. Raises ModelUnavailable.
    """
    windows = [window_within(model, limit)]
    for name, key in (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        with suppress(OSError, ValueError):
            stated = loads((model / name).read_text()).get(key)
            windows += [stated] if isinstance(stated, int) else []
    return min(windows)


def require_reranker(model: Path) -> None:
    """Raises ConfigurationError unless the model is of Qwen3-Reranker's family: others were not trained on
    its prompt.
    """
    model_type = read_config(model).get("model_type")
    if model_type != "qwen3":
        raise ConfigurationError(f"{model.name} is a model of type {model_type}; the reranker must be a Qwen3-Reranker")


def is_causal_model(model: Path) -> bool:
    """Returns whether the weights are those of a language model, as Qwen3-Reranker is published, and not of a
    classifier.
    """
    architectures = read_config(model).get("architectures")
    return isinstance(architectures, list) and "Qwen3ForCausalLM" in architectures


def require_cross_encoder(model: Path, *, server: str) -> None:
    """Raises ConfigurationError for a model that a server without templates cannot rank with: any model other than a
    sequence classifier with one output, and Qwen3-Reranker in either form.
    """
    config = read_config(model)
    if config.get("model_type") == "qwen3":
        raise ConfigurationError(
            f"{model.name} ranks at random without its prompt, and {server} cannot be given it whole: serve the model "
            "with vllm or sglang (TANDEM_RERANK_DIALECT), or take a cross-encoder of BERT's family"
        )
    labels = config.get("id2label")  # omitted if there are two, Transformers' default
    classifier = "ForSequenceClassification" in str(config.get("architectures"))
    if not classifier or not isinstance(labels, dict) or len(labels) != 1:
        raise ConfigurationError(
            f"{model.name} is no cross-encoder with one output, which {server} needs for reranking "
            "(TANDEM_RERANK_MODEL, TANDEM_RERANK_DIALECT)"
        )
