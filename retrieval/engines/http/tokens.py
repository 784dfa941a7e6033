"""The two ports on model servers that take token ids. They need the model's folder as well, for its tokenizer and
configuration; only the server needs the weights.
"""

from pathlib import Path

import httpx

from retrieval.device.gate import Gate
from retrieval.engines.http.dialects.dialect import Dialect
from retrieval.engines.http.server import HttpEngine, HttpServerOptions
from retrieval.engines.token_adapter import TokenEmbedder, TokenReranker
from retrieval.models.folder import window_within
from retrieval.types import TokenIds


class HttpEmbedder(TokenEmbedder[HttpEngine[TokenIds]]):
    """Implements Embedder."""

    def __init__(
        self,
        folder: Path,
        server: HttpServerOptions,
        dialect: Dialect[TokenIds],
        *,
        dimension: int | None = None,
        gate: Gate | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`dimension` and `gate` have the meaning of TokenEmbedder's, `transport` that of HttpEngine's. Raises
        ModelUnavailable, ConfigurationError.
        """
        super().__init__(
            HttpEngine(server, dialect, transport=transport),
            folder,
            name=server.model,
            max_model_len=window_within(folder, server.max_model_len),
            dimension=dimension,
            gate=gate,
        )


class HttpReranker(TokenReranker[HttpEngine[TokenIds]]):
    """Implements Reranker."""

    def __init__(
        self,
        folder: Path,
        server: HttpServerOptions,
        dialect: Dialect[TokenIds],
        *,
        gate: Gate | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Raises ModelUnavailable, ConfigurationError."""
        super().__init__(
            HttpEngine(server, dialect, transport=transport),
            folder,
            name=server.model,
            max_model_len=window_within(folder, server.max_model_len),
            gate=gate,
        )
