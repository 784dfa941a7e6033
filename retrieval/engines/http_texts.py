"""The two ports on model servers that take text. The model's folder is needed here, too: its tokenizer decides where a
text is cut, before the server could do it unseen."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import httpx
import numpy as np
import structlog
from tokenizers import Tokenizer

from retrieval.engines.dialects.dialect import Dialect, InputT, Pair, Text
from retrieval.engines.gated import encode_gated
from retrieval.engines.http import engine_class
from retrieval.engines.http_server import HttpEngine, HttpServerOptions
from retrieval.engines.model_folder import (
    read_config,
    read_tokenizer,
    reduced_dimension,
    require_cross_encoder,
    revision,
    stated_window,
    whole_dimension,
)
from retrieval.engines.text_cuts import PairCutter, cut_text
from retrieval.errors import ConfigurationError, EngineFailed
from retrieval.gate import Gate
from retrieval.prompts import DEFAULT_QUERY_INSTRUCTION, PROMPT_VERSION, EmbeddingPrompts, format_query, query_format
from retrieval.types import Embeddings, Fingerprint, Lane, RerankScores, TextKind

log = structlog.get_logger()


class _Served:
    """A model that lives and fails with the connection to its server."""

    def __init__(self, engine: HttpEngine[InputT]) -> None:
        self._lifecycle = engine

    async def start(self) -> None:
        await self._lifecycle.start()

    async def close(self) -> None:
        await self._lifecycle.close()

    @property
    def failure(self) -> str | None:
        return self._lifecycle.failure


class HttpTextEmbedder(_Served):
    """Port Embedder. Queries go out with their instruction, as the model's family has it."""

    def __init__(
        self,
        folder: Path,
        server: HttpServerOptions,
        dialect: Dialect[Text],
        *,
        dimension: int | None = None,
        gate: Gate | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """As for HttpEmbedder. Raises ModelUnavailable, ConfigurationError."""
        self._engine = HttpEngine(server, dialect, transport=transport)
        super().__init__(self._engine)
        self._gate = gate
        self._dimensions = reduced_dimension(folder, dimension)
        if self._dimensions is not None and not dialect.reduces:
            raise ConfigurationError(
                f"TANDEM_EMBED_DIMENSION={dimension}: {dialect.name} is not asked for shorter vectors. Leave it unset, "
                "and create collections with a `dimension` instead."
            )
        self._tokenizer = read_tokenizer(folder)
        self._prompts = EmbeddingPrompts(
            self._tokenizer,
            max_model_len=stated_window(folder, server.max_model_len),
            query_format=query_format(str(read_config(folder).get("model_type"))),
        )
        self._fingerprint = Fingerprint(
            model=server.model,
            revision=revision(folder),
            dimension=self._dimensions or whole_dimension(folder),
            normalized=True,
            prompt_version=PROMPT_VERSION,
            engine=engine_class(dialect.name),
        )
        self._instruction_ignored = False

    @property
    def fingerprint(self) -> Fingerprint:
        return self._fingerprint

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    @property
    def max_tokens(self) -> int:
        return self._prompts.max_tokens

    @property
    def reducible(self) -> bool:
        return self._prompts.query_format == "instruct"  # Qwen3-Embedding's family

    async def embed(
        self, texts: Sequence[str], *, kind: TextKind, lane: Lane, instruction: str | None = None
    ) -> Embeddings:
        """As the port says. A model without an instruction format ignores `instruction`; that is logged once."""
        if instruction and kind == "query" and self._prompts.query_format == "plain" and not self._instruction_ignored:
            self._instruction_ignored = True
            log.warning("instruction ignored", model=self._fingerprint.model, reason="the model takes bare queries")
        inputs, truncated = await asyncio.to_thread(self._inputs, texts, kind, instruction)
        outputs = await encode_gated(self._gate, self._engine, inputs, lane=lane, dimensions=self._dimensions)
        dimension = self._fingerprint.dimension
        if any(output.shape != (dimension,) for output in outputs):
            raise EngineFailed(
                f"The server of {self._fingerprint.model} answers vectors of {outputs[0].size} components, not of "
                f"{dimension}: does it serve another model?"
            )
        vectors = np.stack(outputs) if outputs else np.empty((0, dimension))
        return Embeddings(
            vectors=vectors.astype(np.float32, copy=False),
            tokens=tuple(len(each) for each in inputs),
            truncated_tokens=truncated,
            fingerprint=self._fingerprint,
        )

    def _inputs(
        self, texts: Sequence[str], kind: TextKind, instruction: str | None
    ) -> tuple[list[Text], tuple[int, ...]]:
        """What is sent, and how many tokens of each text are not."""
        prompts = self._prompts.queries(texts, instruction) if kind == "query" else self._prompts.documents(texts)
        if kind == "query" and self._prompts.query_format == "instruct":
            texts = [format_query(text, instruction or DEFAULT_QUERY_INSTRUCTION) for text in texts]
        inputs, truncated = [], []
        for text, prompt in zip(texts, prompts, strict=True):
            kept, lost = text, 0
            if prompt.truncated_tokens:
                kept, tokens = cut_text(self._tokenizer, text, self.max_tokens)
                lost = self.max_tokens - tokens  # where the last character would not fit whole
            inputs.append(Text(kept, len(prompt.ids) - lost))
            truncated.append(prompt.truncated_tokens + lost)
        return inputs, tuple(truncated)


class HttpPairReranker(_Served):
    """Port Reranker, for cross-encoders that read query and passage bare: BERT's family with one output. Their server
    joins the two texts, maps the output to [0, 1], and is given no instruction."""

    def __init__(
        self,
        folder: Path,
        server: HttpServerOptions,
        dialect: Dialect[Pair],
        *,
        gate: Gate | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Raises ModelUnavailable; ConfigurationError, above all for a Qwen3-Reranker, which without its prompt would
        answer at random."""
        self._engine = HttpEngine(server, dialect, transport=transport)
        super().__init__(self._engine)
        self._gate = gate
        require_cross_encoder(folder, server=dialect.name)
        self._model = server.model
        self._cutter = PairCutter(read_tokenizer(folder), max_model_len=stated_window(folder, server.max_model_len))

    @property
    def model(self) -> str:
        return self._model

    @property
    def weight(self) -> float:
        return 1.0

    async def rerank(
        self, query: str, passages: Sequence[str], *, lane: Lane, instruction: str | None = None
    ) -> RerankScores:
        """As the port says. `instruction` has no effect."""
        del instruction  # part of the port
        built = await asyncio.to_thread(self._cutter.build, query, passages)
        outputs = await encode_gated(self._gate, self._engine, built.pairs, lane=lane)
        return RerankScores(
            scores=tuple(float(output[0]) for output in outputs),
            tokens=sum(pair.tokens for pair in built.pairs),
            truncated_tokens=built.truncated_tokens,
            truncated_query_tokens=built.truncated_query_tokens,
            model=self._model,
        )
