"""The two ports on model servers that take text. They need the model's folder as well: its tokenizer truncates texts
before the server would do so silently.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import httpx

from retrieval.device.gate import Gate
from retrieval.device.gated import encode_gated
from retrieval.engines.adapter import EmbeddingModel, EngineModel
from retrieval.engines.http.dialects.dialect import Dialect, Pair, Text
from retrieval.engines.http.server import HttpEngine, HttpServerOptions
from retrieval.engines.http.truncation import PairTruncator, truncate_text
from retrieval.errors import ConfigurationError
from retrieval.models.folder import read_tokenizer, require_cross_encoder, stated_window
from retrieval.types import Calibration, Embeddings, Lane, RerankScores, TextKind


class HttpTextEmbedder(EmbeddingModel[HttpEngine[Text]]):
    """Implements Embedder. Texts are sent with their instruction, in the format of the model's family."""

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
        """Takes the arguments of HttpEmbedder. Raises ModelUnavailable, ConfigurationError."""
        super().__init__(
            HttpEngine(server, dialect, transport=transport),
            folder,
            name=server.model,
            max_model_len=stated_window(folder, server.max_model_len),
            dimension=dimension,
            gate=gate,
        )
        if self._dimensions is not None and not dialect.reduces:
            raise ConfigurationError(
                f"TANDEM_EMBED_DIMENSION={dimension}: {dialect.name} has no shorter vectors. Unset it, and create "
                "collections with a `dimension` instead."
            )

    async def embed(
        self, texts: Sequence[str], *, kind: TextKind, lane: Lane, instruction: str | None = None
    ) -> Embeddings:
        """Implements `Embedder.embed`."""
        inputs, truncated = await asyncio.to_thread(self._inputs, texts, kind, instruction)
        outputs = await encode_gated(self._gate, self.engine, inputs, lane=lane, dimensions=self._dimensions)
        return self._embeddings(outputs, map(len, inputs), truncated)

    def _inputs(
        self, texts: Sequence[str], kind: TextKind, instruction: str | None
    ) -> tuple[list[Text], tuple[int, ...]]:
        """Returns the texts to send, and the number of tokens that were truncated from each."""
        composed = self._prompts.compose(texts, kind, instruction)
        prompts = self._prompts.build(texts, kind, instruction)
        inputs, truncated = [], []
        for text, prompt in zip(composed, prompts, strict=True):
            kept, lost = text, 0
            if prompt.truncated_tokens:
                kept, tokens = truncate_text(self._tokenizer, text, self.max_tokens)
                lost = self.max_tokens - tokens  # if the last character does not fit as a whole
            inputs.append(Text(kept, len(prompt.ids) - lost))
            truncated.append(prompt.truncated_tokens + lost)
        return inputs, tuple(truncated)


class HttpPairReranker(EngineModel[HttpEngine[Pair]]):
    """Implements Reranker for cross-encoders that take query and passage without a prompt: the BERT family with one
    output. The server joins the two texts, maps the output to [0, 1], and gets no instruction.
    """

    def __init__(
        self,
        folder: Path,
        server: HttpServerOptions,
        dialect: Dialect[Pair],
        *,
        gate: Gate | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Raises ModelUnavailable; ConfigurationError, in particular for Qwen3-Reranker, whose scores are random
        without its prompt.
        """
        super().__init__(HttpEngine(server, dialect, transport=transport), gate)
        require_cross_encoder(folder, server=dialect.name)
        self._model = server.model
        self._cutter = PairTruncator(read_tokenizer(folder), max_model_len=stated_window(folder, server.max_model_len))

    @property
    def model(self) -> str:
        return self._model

    @property
    def weight(self) -> float:
        return 1.0

    @property
    def calibration(self) -> Calibration | None:
        return None

    async def rerank(
        self, query: str, passages: Sequence[str], *, lane: Lane, instruction: str | None = None
    ) -> RerankScores:
        """Implements `Reranker.rerank`. `instruction` has no effect."""
        del instruction  # part of the port
        built = await asyncio.to_thread(self._cutter.build, query, passages)
        outputs = await encode_gated(self._gate, self.engine, built.pairs, lane=lane)
        return RerankScores(
            scores=tuple(float(output[0]) for output in outputs),
            tokens=sum(pair.tokens for pair in built.pairs),
            truncated_tokens=built.truncated_tokens,
            truncated_query_tokens=built.truncated_query_tokens,
            model=self._model,
        )
