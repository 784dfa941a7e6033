"""Constructs the models' adapters: which models, on which engines or servers, with which limits."""

from asyncio import to_thread
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import structlog

from app.node.node import OnStep
from app.settings import Settings
from app.wiring.devices import build_devices, npu_chip
from app.wiring.memory import (
    ENGINE_DEFAULTS,
    engine_demand,
    fitting_plan,
    pair_demands,
    planned_engines,
    shares_engine,
)
from app.wiring.placement import find_placement, log_placement
from retrieval.device.detect import find_compiler, find_device
from retrieval.device.devices import Device, Devices
from retrieval.device.engine_memory import EnginePlan
from retrieval.device.gate import Gate, GateOptions
from retrieval.engines.cross_encoder import CrossEncoderReranker
from retrieval.engines.http.dialects.table import PAIR_RERANK, TEXT_EMBED, TOKEN_EMBED, TOKEN_RERANK
from retrieval.engines.http.server import REQUEST_TOKENS, REQUESTS_AT_ONCE, HttpServerOptions
from retrieval.engines.http.texts import HttpPairReranker, HttpTextEmbedder
from retrieval.engines.http.tokens import HttpEmbedder, HttpReranker
from retrieval.engines.late_interaction import LateInteractionReranker, SharedEngine
from retrieval.engines.vllm.ascend import ascend_options, default_window, vllm_ascend_release
from retrieval.engines.vllm.cuda import SLICES_AHEAD, cuda_options
from retrieval.engines.vllm.models import VllmEmbedder
from retrieval.engines.vllm.options import EngineOptions, EngineTask
from retrieval.engines.vllm.versions import installed_engine, refused_version
from retrieval.errors import ConfigurationError
from retrieval.models.folder import read_tokenizer
from retrieval.models.hub import ModelHub
from retrieval.models.profiles import (
    DEFAULT_WINDOW,
    PROFILES,
    Model,
    ModelProfile,
    SecondStage,
    model,
    profile,
    with_facts,
)
from retrieval.models.sources import Progress
from retrieval.ports import Embedder, Reranker

log = structlog.get_logger()

RERANK_ONLY_TOLERANCE = 0.7
"""The gate's tolerance if queries have an engine of their own: bulk work in flight ends while the query is embedded and
the store recalls, and only the rest of it delays a search. During searches ingestion reached 0.77 of its rate, at
search p50 1.19; 0.68 and 1.17 with 0.5 (one H200).
"""


SecondStageReranker = CrossEncoderReranker | LateInteractionReranker
SECOND_STAGES: Mapping[SecondStage, type[SecondStageReranker]] = {
    "cross_encoder": CrossEncoderReranker,
    "late_interaction": LateInteractionReranker,
}


def build_profile(settings: Settings) -> ModelProfile:
    """Returns the model pair that the settings name, or the one that suits the device. Raises ConfigurationError."""
    name = settings.models or ("e5" if find_device() == "cpu" else "qwen3-0.6b")
    return profile(name, embed=settings.embed_model, rerank=settings.rerank_model)


def model_hub(settings: Settings) -> ModelHub:
    # Of its node's model, a worker process needs the tokenizer.
    return ModelHub(settings.models_dir, weights=settings.load_format == "auto" and settings.engine != "node")


def gate_options(settings: Settings) -> GateOptions:
    """Returns the gate's options: slices as large as the engines' steps or, for servers, as the requests to them."""
    tolerance = RERANK_ONLY_TOLERANCE if settings.query_engine else GateOptions().tolerance
    options = GateOptions(settings.gate_tolerance or tolerance)
    if settings.engine == "http":
        return replace(options, slice_tokens=REQUEST_TOKENS, slots=REQUESTS_AT_ONCE)
    device = find_device()
    ahead = SLICES_AHEAD if device == "cuda" else 1
    tokens = ENGINE_DEFAULTS[device].max_num_batched_tokens
    return replace(options, slice_tokens=tokens, slots=settings.embed_replicas, ahead=ahead)


def engine_options(
    settings: Settings,
    model: Model,
    folder: Path,
    share: float | None,
    task: EngineTask = "embed",
    planned: EnginePlan | None = None,
) -> EngineOptions:
    """Returns the options of one engine. `planned`, if the device reports its memory, already contains the share.
    Blocks, on an NPU. Raises ModelUnavailable, ConfigurationError, Unsupported (no model for this device).
    """
    device = find_device()
    defaults = ENGINE_DEFAULTS[device]
    known = with_facts(model, folder)
    options = EngineOptions(
        model=folder,
        # Whoever sees an answer, a vector's fingerprint or a log line is to know.
        name=f"dummy:{known.name}" if settings.load_format == "dummy" else known.name,
        task=task,
        max_model_len=settings.max_model_len or known.max_model_len or DEFAULT_WINDOW,
        memory_share=share or defaults.memory_share,
        kv_cache_bytes=defaults.kv_cache_bytes,
        max_num_batched_tokens=defaults.max_num_batched_tokens,
        # Documents share no prefixes, and the few that queries share are not worth the hashing of every document.
        prefix_caching=task != "embed",
        tensor_parallel=settings.parts,
        enforce_eager=settings.enforce_eager or lacks_compiler(),
        load_format=settings.load_format,
        stall_seconds=settings.engine_stall_seconds or defaults.stall_seconds,
    )
    if planned is not None:
        options = replace(
            options,
            max_model_len=planned.max_model_len,
            memory_share=planned.share,
            kv_cache_bytes=planned.kv_cache_memory_bytes,
            max_num_batched_tokens=planned.max_num_batched_tokens,
        )
    if device == "cuda":
        return cuda_options(options)
    release = vllm_ascend_release()
    if device != "npu" or release is None:
        return options
    chip = npu_chip()
    if settings.max_model_len is None:
        options = replace(options, max_model_len=default_window(options.max_model_len, chip))
    return ascend_options(options, known, release, chip)


def require_engine_version(settings: Settings) -> None:
    """Raises ConfigurationError if engines are to be started on a version of vLLM that is not supported."""
    found = installed_engine() if settings.engine == "vllm" else None
    if found and (reason := refused_version(*found)):
        raise ConfigurationError(reason)


def lacks_compiler() -> bool:
    """Returns whether models cannot be compiled for this CPU."""
    return find_device() == "cpu" and find_compiler() is None


@dataclass(frozen=True, slots=True)
class Models:
    """Both models, on the same devices or behind one gate for servers."""

    embedder: Embedder
    reranker: Reranker
    devices: Devices
    settings: Settings
    """With what they left open decided."""


async def build_models(settings: Settings, on_step: OnStep) -> Models:
    if settings.engine == "node":
        raise ConfigurationError("TANDEM_ENGINE=node is for `tandem worker`: a node has engines or servers of its own.")
    require_engine_version(settings)
    chosen = build_profile(settings)
    hub = model_hub(settings)
    if settings.load_format == "dummy":
        log.warning("DUMMY WEIGHTS: vectors and scores mean nothing", setting="TANDEM_LOAD_FORMAT")
    report = download_reporter(on_step)
    on_step(f"looking for the model {chosen.embed.name}")
    embed_folder = await hub.resolve(chosen.embed.id, report)
    on_step(f"looking for the model {chosen.rerank.name}")
    rerank_folder = await hub.resolve(chosen.rerank.id, report)
    if settings.engine == "http":
        gate = Gate(gate_options(settings))
        return Models(
            http_embedder(settings, chosen.embed, embed_folder, gate),
            _http_reranker(settings, chosen.rerank, rerank_folder, gate),
            Devices([Device("servers", gate)]),
            settings,
        )
    if lacks_compiler() and not settings.enforce_eager:
        log.warning("NO C++ COMPILER: engines compute without compilation, which is slower", remedy="install g++")
    folders = embed_folder, rerank_folder
    placement = await to_thread(find_placement, settings, lambda each: pair_demands(each, chosen, folders))
    log_placement(placement)
    settings = placement.settings
    devices = await to_thread(build_devices, settings, gate_options(settings))
    demands = pair_demands(settings, chosen, folders)
    shared = shares_engine(settings, chosen)
    devices.plan = await to_thread(fitting_plan, settings, demands)
    planned = devices.plan.engines if devices.plan else (None,) * len(demands)
    kind = SECOND_STAGES[chosen.second_stage]
    shares = settings.embed_memory_share, settings.rerank_memory_share
    embedding = partial(engine_options, settings, chosen.embed, embed_folder, shares[0], "embed")
    embed = await to_thread(embedding, planned[0])
    rerank_at = 0 if shared else -1
    rerank = await to_thread(
        engine_options, settings, chosen.rerank, rerank_folder, shares[1], kind.task, planned[rerank_at]
    )
    embedder = VllmEmbedder(
        embed,
        dimension=settings.embed_dimension,
        replicas=settings.embed_replicas,
        query_engine=await to_thread(embedding, planned[settings.embed_replicas]) if settings.query_engine else None,
        devices=devices.holding("embed"),
    )
    second_stage: SecondStageReranker
    if shared:
        second_stage = LateInteractionReranker.for_model(chosen.rerank, rerank, shared=SharedEngine(embedder.engine))
    else:
        second_stage = kind.for_model(chosen.rerank, rerank, devices=devices.holding("rerank"))
    return Models(embedder, second_stage, devices, settings)


async def open_embedder(settings: Settings, devices: Devices, models: str) -> Embedder:
    """Returns the embedder of a pair's name or a model's id, with the settings of the node's own, all decided."""
    known = next((pair.embed for pair in PROFILES if pair.name == models), None)
    chosen = known or model(models)
    folder = await model_hub(settings).resolve(chosen.id)
    share = settings.embed_memory_share
    demand = engine_demand(settings, chosen, "second embedder", share, folder)
    planned = await to_thread(planned_engines, settings, [demand]) or (None,)
    options = await to_thread(engine_options, settings, chosen, folder, share, "embed", planned[0])
    return VllmEmbedder(options, devices=devices.holding("embed"))


def http_embedder(settings: Settings, model: Model, folder: Path, gate: Gate | None) -> Embedder:
    assert settings.embed_url is not None
    server = _server(settings, settings.embed_url, model)
    if text := TEXT_EMBED.get(settings.embed_dialect):
        return HttpTextEmbedder(folder, server, text, dimension=settings.embed_dimension, gate=gate)
    dialect = TOKEN_EMBED[settings.embed_dialect]
    return HttpEmbedder(folder, server, dialect, dimension=settings.embed_dimension, gate=gate)


def _http_reranker(settings: Settings, model: Model, folder: Path, gate: Gate) -> Reranker:
    assert settings.rerank_url is not None
    server = _server(settings, settings.rerank_url, model)
    if pair := PAIR_RERANK.get(settings.rerank_dialect):
        return HttpPairReranker(folder, server, pair, gate=gate)
    dialect = TOKEN_RERANK[settings.rerank_dialect](read_tokenizer(folder))
    return HttpReranker(folder, server, dialect, gate=gate)


def engine_key(settings: Settings) -> str | None:
    return settings.engine_api_key.get_secret_value() if settings.engine_api_key else None


def _server(settings: Settings, url: str, model: Model) -> HttpServerOptions:
    return HttpServerOptions(
        url=url,
        model=model.name,
        api_key=engine_key(settings),
        max_model_len=settings.max_model_len or model.max_model_len or DEFAULT_WINDOW,
        send_priority=settings.engine_priority,
    )


def download_reporter(on_step: OnStep) -> Progress:
    """Returns a callback that reports the progress of a download as a step, in whole percents of a file."""
    last_step = ""

    def report(file: str, done: int, total: int) -> None:
        nonlocal last_step
        step = f"downloading {file}, {100 * done // max(total, 1)} % of {total / 1e9:.1f} GB"
        if step != last_step:
            last_step = step
            on_step(step)

    return report
