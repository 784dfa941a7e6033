"""The port Embedder on vLLM engines of this node."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from retrieval.device.devices import Device
from retrieval.engines.over_devices import OverDevices
from retrieval.engines.replicas import Replicas
from retrieval.engines.token_adapter import TokenEmbedder
from retrieval.engines.vllm.engine import VllmEngine
from retrieval.engines.vllm.options import EngineOptions
from retrieval.models.folder import matryoshka_dimension


class VllmEmbedder(TokenEmbedder[VllmEngine | Replicas | OverDevices]):
    """Implements Embedder."""

    def __init__(
        self,
        options: EngineOptions,
        *,
        dimension: int | None = None,
        replicas: int = 1,
        query_engine: EngineOptions | None = None,
        devices: Sequence[Device] = (),
        on_restart: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`dimension` has the meaning of TokenEmbedder's. On each of `devices` `replicas` engines share the work; one
        more, with the options `query_engine`, serves the interactive lane. Each takes the memory of its options.
        Without `devices` there is one such set, which sees all devices. Raises ModelUnavailable, ConfigurationError.
        """
        is_matryoshka = matryoshka_dimension(options.model, dimension) is not None

        def engine(options: EngineOptions, device: Device | None) -> VllmEngine:
            if is_matryoshka:
                options = replace(options, hf_overrides={**options.hf_overrides, "is_matryoshka": True})
            return engine_on(device, options, on_restart)

        def engines(device: Device | None = None) -> VllmEngine | Replicas:
            sharing = [engine(options, device) for _ in range(replicas)]
            own_query_engine = engine(query_engine, device) if query_engine else None
            return Replicas(sharing, own_query_engine) if own_query_engine or replicas > 1 else sharing[0]

        super().__init__(
            OverDevices(f"embedder {options.name}", devices, engines) if devices else engines(),
            options.model,
            name=options.name,
            max_model_len=options.max_model_len,
            dimension=dimension,
        )


def engine_on(
    device: Device | None, options: EngineOptions, on_restart: Callable[[], Awaitable[None]] | None = None
) -> VllmEngine:
    """Returns an engine that sees `device` alone; None: all devices of this process. `on_restart` has the meaning of
    VllmEngine's.
    """
    if device is None:
        return VllmEngine(options, on_restart=on_restart)
    options = replace(options, environment=device.environment, cpu_cores=device.cpu_cores or options.cpu_cores)
    return VllmEngine(options, read_memory=device.read_memory, on_restart=on_restart)


def engines_on(
    devices: Sequence[Device], role: str, options: EngineOptions, on_restart: Callable[[], Awaitable[None]] | None
) -> VllmEngine | OverDevices:
    """Returns one engine on each of `devices`; one for this machine if there are none."""
    if not devices:
        return engine_on(None, options, on_restart)
    return OverDevices(f"{role} {options.name}", devices, lambda device: engine_on(device, options, on_restart))
