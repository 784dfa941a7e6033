"""The two ports on model servers of the OpenAI kind. The model's folder is needed here, too, for its tokenizer and
configuration; of the weights, only the server has need."""

from pathlib import Path

import httpx

from retrieval.engines.http_server import HttpEngine, HttpServerOptions
from retrieval.engines.model_folder import read_config
from retrieval.engines.token_models import TokenEmbedder, TokenReranker

ENGINE_VERSION = "http"
"""In the fingerprint. What serves behind the address is not ours to know: keep it the same for a collection's life."""


class HttpEmbedder(TokenEmbedder[HttpEngine]):
    """Port Embedder, by POST /v1/embeddings."""

    def __init__(
        self,
        folder: Path,
        server: HttpServerOptions,
        *,
        dimension: int | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`dimension` as for TokenEmbedder; vLLM wants `--hf-overrides '{"is_matryoshka": true}'` for it. `transport`
        as for HttpEngine. Raises ModelUnavailable, ConfigurationError."""
        super().__init__(
            HttpEngine(server, transport=transport),
            folder,
            name=server.model,
            engine_version=ENGINE_VERSION,
            max_model_len=_window(folder, server),
            dimension=dimension,
        )


class HttpReranker(TokenReranker[HttpEngine]):
    """Port Reranker, by vLLM's POST /classify, because no server takes token ids for reranking. `vllm serve` has to be
    told to make a classifier of the published model: see QWEN3_RERANKER_OVERRIDES in vllm_models.py."""

    def __init__(
        self, folder: Path, server: HttpServerOptions, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Raises ModelUnavailable, ConfigurationError."""
        super().__init__(
            HttpEngine(server, transport=transport),
            folder,
            name=server.model,
            max_model_len=_window(folder, server),
        )


def _window(folder: Path, server: HttpServerOptions) -> int:
    positions = read_config(folder).get("max_position_embeddings")
    return min(server.max_model_len, positions) if isinstance(positions, int) else server.max_model_len
