"""Computes the size of a model from its config.json: the bytes of its weights, its cache and one step."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from retrieval.errors import ConfigurationError, ModelUnavailable, Unsupported
from retrieval.models.profiles import FAMILIES, Family

COMPUTED_BYTES = 2
"""Size of a bfloat16, the format of activations, caches and embedding tables, whatever the format of the matrices."""


@dataclass(frozen=True, slots=True)
class WeightFormat:
    """The storage format of the layers' matrices. Embedding tables stay in bfloat16."""

    name: str
    bits: int
    group: int | None = None
    """Weights in a row that share a scale and a zero point; None: so many that the scales do not count."""

    @property
    def bytes_per_weight(self) -> float:
        own = self.bits / 8
        return own + (COMPUTED_BYTES + own) / self.group if self.group else own


BFLOAT16 = WeightFormat("bfloat16", 16)
FP8 = WeightFormat("fp8", 8)
INT4 = WeightFormat("int4", 4, group=128)
WEIGHT_FORMATS: Mapping[str, WeightFormat] = {each.name: each for each in (BFLOAT16, FP8, INT4)}


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The figures of config.json. Norms, biases and tables of positions are left out everywhere: 2 % of
    all-MiniLM-L6-v2, 0.01 % of a Qwen3 model."""

    family: Family
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    intermediate: int
    vocabulary: int
    positions: int
    tied: bool = True
    """Whether the language model's head is the embedding table. A head of its own is loaded only to be dropped."""
    weights: WeightFormat = BFLOAT16

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of the keys and values of every layer. BERT's attention is bidirectional, so nothing is kept between
        steps.
        """
        if self.family == "bert":
            return 0
        return 2 * self.layers * self.kv_heads * self.head_size * COMPUTED_BYTES

    @property
    def head_bytes(self) -> int:
        """Bytes of the language model's head while a reranker is loaded, which reads two rows of it and
        drops the rest.
        """
        return 0 if self.tied else self.vocabulary * self.hidden * COMPUTED_BYTES

    @property
    def weight_bytes(self) -> int:
        """Bytes of the layers' matrices in their format and of the table of token embeddings, without a language
        model's head.
        """
        attention = 2 * self.hidden * self.head_size * (self.heads + self.kv_heads)
        mlp = (3 if self._gated else 2) * self.hidden * self.intermediate
        layers = self.layers * (attention + mlp) * self.weights.bytes_per_weight
        return round(layers) + self.vocabulary * self.hidden * COMPUTED_BYTES

    def activation_bytes(self, tokens: int) -> int:
        """Returns the most bytes that are in use at once while a step of `tokens` is computed.

        Two moments of a layer compete. In the MLP: the attention's output, the residual before and after it, the
        product of the first matrix (gate and up side by side in a gated MLP) and the output of the activation function.
        In the attention: the residual and its normalised copy, queries, keys and values, the rotated queries and keys,
        and the output.
        """
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        mlp = queries + 2 * self.hidden + (3 if self._gated else 2) * self.intermediate
        attention = 2 * self.hidden + (queries + 2 * keys) + (queries + keys) + queries
        return tokens * max(mlp, attention) * COMPUTED_BYTES

    def split(self, devices: int) -> "ModelShape":
        """Returns one device's part under tensor parallelism: heads, MLP and vocabulary are divided, hidden states are
        not. Raises ConfigurationError if they cannot be divided.
        """
        if devices == 1:
            return self
        groups = self.weights.group or 1
        if self.heads % devices or (self.kv_heads % devices and devices % self.kv_heads):
            raise ConfigurationError(
                f"A model with {self.heads} heads ({self.kv_heads} of keys) cannot be split over {devices} devices."
            )
        if self.intermediate % (devices * groups):
            raise ConfigurationError(
                f"A model with {self.intermediate} intermediate columns and weights in groups of {groups} cannot be "
                f"split over {devices} devices."
            )
        return replace(
            self,
            heads=self.heads // devices,
            kv_heads=max(1, self.kv_heads // devices),
            intermediate=self.intermediate // devices,
            vocabulary=-(-self.vocabulary // devices),
        )

    @property
    def _gated(self) -> bool:
        return self.family == "qwen3"


def read_shape(config: Mapping[str, object], name: str) -> ModelShape:
    """Reads the shape from config.json. `name` is the model's, for errors. Raises ModelUnavailable (a figure is
    missing), Unsupported (a family that the service has no prompts for).
    """
    family = FAMILIES.get(str(config.get("model_type")))
    if family is None:
        raise Unsupported(f"{name} is of the family {config.get('model_type')}; supported are {', '.join(FAMILIES)}.")

    def figure(key: str, default: int | None = None) -> int:
        value = config.get(key, default)
        if not isinstance(value, int) or value <= 0:
            raise ModelUnavailable(f"{name}: config.json states no {key}", model=name)
        return value

    heads = figure("num_attention_heads")
    return ModelShape(
        family=family,
        layers=figure("num_hidden_layers"),
        hidden=figure("hidden_size"),
        heads=heads,
        kv_heads=figure("num_key_value_heads", heads),
        head_size=figure("head_dim", figure("hidden_size") // heads),
        intermediate=figure("intermediate_size"),
        vocabulary=figure("vocab_size"),
        positions=figure("max_position_embeddings"),
        tied=family == "bert" or config.get("tie_word_embeddings", True) is True,
        weights=_weight_format(config.get("quantization_config")),
    )


def _weight_format(quantization: object) -> WeightFormat:
    """Returns the format that config.json's `quantization_config` states, as GPTQ, AWQ, FP8 and compressed-tensors
    write it. Any other value counts as bfloat16, the largest format.
    """
    if not isinstance(quantization, dict):
        return BFLOAT16
    method = str(quantization.get("quant_method"))
    stated: object = quantization
    if method == "compressed-tensors":
        groups = quantization.get("config_groups")
        first = next(iter(groups.values()), None) if isinstance(groups, dict) else None
        stated = first.get("weights") if isinstance(first, dict) else None
    if method == "fp8":
        return FP8
    bits, group = None, None
    if isinstance(stated, dict):
        bits, group = stated.get("bits", stated.get("num_bits")), stated.get("group_size")
    if not isinstance(bits, int):
        return BFLOAT16
    return WeightFormat(f"{method} {bits} bit", bits, group if isinstance(group, int) and group > 0 else None)


def _qwen3(layers: int, hidden: int, heads: int, intermediate: int, *, tied: bool = True) -> ModelShape:
    return ModelShape(
        family="qwen3",
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=8,
        head_size=128,
        intermediate=intermediate,
        vocabulary=151_669,
        positions=32_768,
        tied=tied,
    )


def _bert(layers: int, vocabulary: int) -> ModelShape:
    return ModelShape(
        family="bert",
        layers=layers,
        hidden=384,
        heads=12,
        kv_heads=12,
        head_size=32,
        intermediate=1536,
        vocabulary=vocabulary,
        positions=512,
    )


_SIZES: Mapping[str, ModelShape] = {
    "0.6B": _qwen3(28, 1024, 16, 3072),
    "4B": _qwen3(36, 2560, 32, 9728),
    "8B": _qwen3(36, 4096, 32, 12288, tied=False),
}
KNOWN_SHAPES: Mapping[str, ModelShape] = {
    **{f"Qwen/Qwen3-{role}-{size}": shape for role in ("Embedding", "Reranker") for size, shape in _SIZES.items()},
    "sentence-transformers/all-MiniLM-L6-v2": _bert(layers=6, vocabulary=30_522),
    "tandem/multilingual-e5-small-q4": _bert(layers=12, vocabulary=250_037),
}
"""Shapes of the named pairs, by id, to plan before anything is downloaded."""
