"""Plans the device's memory from the settings, and refuses models that do not fit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from app.settings import Settings
from app.wiring.devices import places, read_device
from app.wiring.plan_table import DeviceRow, plan_text
from retrieval.device.alternatives import alternatives
from retrieval.device.detect import Device, find_device
from retrieval.device.engine_memory import EngineDemand, EnginePlan
from retrieval.device.planner import DeviceMemory, Plan, plan
from retrieval.engines.vllm.options import cores_of_parts
from retrieval.errors import ConfigurationError, ModelUnavailable
from retrieval.models.folder import read_config
from retrieval.models.hub import packaged_folder
from retrieval.models.profiles import DEFAULT_WINDOW, PROFILES, Model, ModelProfile, is_folder, with_facts
from retrieval.models.shapes import KNOWN_SHAPES, WeightFormat, read_shape

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class EngineDefaults:
    """The values of an engine if neither the settings nor a plan of the device's memory state them. Both engines
    together leave room for the rest.
    """

    memory_share: float
    kv_cache_bytes: int | None
    max_num_batched_tokens: int
    """Tokens of a step, also the first value of a plan."""
    stall_seconds: float
    """A step takes a second or two, on a small NPU some ten; on a CPU one text of a large model may take minutes."""


ENGINE_DEFAULTS: dict[Device, EngineDefaults] = {
    "cuda": EngineDefaults(memory_share=0.45, kv_cache_bytes=None, max_num_batched_tokens=16384, stall_seconds=60),
    "npu": EngineDefaults(memory_share=0.45, kv_cache_bytes=None, max_num_batched_tokens=8192, stall_seconds=120),
    # On a CPU the share is of main memory, which others use too. Small steps keep searches from waiting for ingestion.
    "cpu": EngineDefaults(memory_share=0.2, kv_cache_bytes=2 * 2**30, max_num_batched_tokens=2048, stall_seconds=600),
}


RERANKER = "reranker"
QUERY_CACHED_STEPS = 0.5
"""Queries are short and few at a time; a full step of them would be hundreds."""
RERANK_CACHED_STEPS = 2.0
"""A rerank is computed in halves. Where both are not in the cache at once it takes a third step: 100 candidates of 256
tokens took 88 and 94 ms on two H200s with 1.5, and 74 and 88 in two turns on a third with this (Qwen3 0.6B)."""


def plan_here(settings: Settings, demands: Sequence[EngineDemand], step_tokens: int | None = None) -> Plan | None:
    """Returns one plan for all devices, for the free memory of the one with the least; None if no program reports their
    memory. If devices differ in their roles, it is the plan of those that need more. `step_tokens` is None for the
    device's default. Raises ConfigurationError if
    models cannot be split over as many devices as the settings state, or devices are named that do not exist.
    """
    parts, found = settings.parts, places(settings)
    device = read_device([name for place in found for name in place.devices])
    if device is None:
        for demand in demands:
            demand.shape.split(parts)
        if find_device() == "cpu":
            cores_of_parts(parts)
        return None
    return plan_devices(settings, demands, device, step_tokens)


def plan_devices(
    settings: Settings, demands: Sequence[EngineDemand], device: DeviceMemory, step_tokens: int | None
) -> Plan:
    """Returns the plan for `device`, the one with the least memory of those that engines are placed on. `step_tokens`
    is None for the default of the devices here."""
    fixed, parts, step = settings.max_model_len is not None, settings.parts, step_tokens or _step_tokens()

    def planned(demands: Sequence[EngineDemand]) -> Plan:
        return plan(demands, device, step_tokens=step, window_is_fixed=fixed, tensor_parallel=parts)

    if settings.placement == "both":
        return planned(demands)
    reranking = [demand for demand in demands if demand.role == RERANKER]
    return planned([demand for demand in demands if demand.role != RERANKER]).combined_with(planned(reranking))


def planned_engines(settings: Settings, demands: Sequence[EngineDemand]) -> Sequence[EnginePlan] | None:
    """Returns the plans that engines are started with, in the order of `demands`. None if there is no plan: they then
    take ENGINE_DEFAULTS. Raises the errors of `fitting_plan`.
    """
    found = fitting_plan(settings, demands)
    return found.engines if found else None


def fitting_plan(settings: Settings, demands: Sequence[EngineDemand]) -> Plan | None:
    """Returns the plan of `plan_here`, which fits. Raises ConfigurationError, with the whole plan in its message, if it
    does not.
    """
    found = plan_here(settings, demands)
    if found is None:
        return None
    require_fit(settings, found, demands)
    (log.info if found.verdict == "fits" else log.warning)("memory planned", verdict=found.message)
    return found


def with_query_engine(settings: Settings, device: Device, plan_of: Callable[[Settings], Plan | None]) -> Settings:
    """Returns `settings` with a decision on a separate engine for queries, if they leave it open: yes on a GPU on which
    it fits and reduces nothing else. `plan_of` makes a plan of such settings; None: the memory is not known. Prescribed
    shares count as wanted.
    """
    if settings.query_engine is not None:
        return settings
    wanted = settings.model_copy(update={"query_engine": True})
    prescribed = settings.embed_memory_share or settings.rerank_memory_share
    found = plan_of(wanted) if device == "cuda" and not prescribed else None
    return wanted if found and found.verdict == "fits" else settings.model_copy(update={"query_engine": False})


def require_fit(
    settings: Settings, found: Plan, demands: Sequence[EngineDemand], rows: Sequence[DeviceRow] = ()
) -> None:
    """Raises ConfigurationError with the whole plan, what to do instead and `rows` if `found` does not fit."""
    if not found.fits:
        raise ConfigurationError(plan_text(found, advice(settings, found, demands, step_tokens=_step_tokens()), rows))


def _step_tokens() -> int:
    return ENGINE_DEFAULTS[find_device()].max_num_batched_tokens


def advice(settings: Settings, failed: Plan, demands: Sequence[EngineDemand], *, step_tokens: int) -> tuple[str, ...]:
    """Returns alternatives to a plan that does not fit; empty for one that does."""
    if failed.fits:
        return ()
    least = min(demand.shape.weight_bytes for demand in demands)
    plain = settings.model_copy(update={"embed_memory_share": None, "rerank_memory_share": None})
    pairs = {pair.name: pair_demands(plain, pair) for pair in reversed(PROFILES) if pair.has_cross_encoder}
    smaller = {name: pair for name, pair in pairs.items() if pair[0].shape.weight_bytes < least}
    fixed = settings.max_model_len is not None
    return tuple(alternatives(failed, demands, smaller, step_tokens=step_tokens, window_is_fixed=fixed))


def shares_engine(settings: Settings, pair: ModelProfile) -> bool:
    """Returns whether the second stage takes its token vectors from the embedder's engines, which hold its weights."""
    return not pair.has_cross_encoder and settings.placement == "both" and settings.rerank_memory_share is None


def pair_demands(
    settings: Settings,
    pair: ModelProfile,
    folders: tuple[Path | None, Path | None] = (None, None),
    weights: WeightFormat | None = None,
) -> tuple[EngineDemand, ...]:
    """Returns the demands of a pair's engines: those of the embedder, then the reranker unless it shares them.
    `folders` are those of the two models, if known; `weights` assumes this format for both. Raises the errors of
    `engine_demand`.
    """
    embed = engine_demand(settings, pair.embed, "embedder", settings.embed_memory_share, folders[0])
    further = [replace(embed, role=f"embedder {number}") for number in range(2, settings.embed_replicas + 1)]
    if settings.query_engine:
        further.append(replace(embed, role="embedder of queries", cached_steps=QUERY_CACHED_STEPS))
    demands = [embed, *further]
    if not shares_engine(settings, pair):
        rerank = engine_demand(settings, pair.rerank, RERANKER, settings.rerank_memory_share, folders[1])
        crosses = pair.has_cross_encoder
        demands.append(replace(rerank, drops_head=True, cached_steps=RERANK_CACHED_STEPS) if crosses else rerank)
    if weights is None:
        return tuple(demands)
    return tuple(replace(each, shape=replace(each.shape, weights=weights)) for each in demands)


def engine_demand(
    settings: Settings, model: Model, role: str, share: float | None, folder: Path | None = None
) -> EngineDemand:
    """Returns a demand from the model's config.json if it is installed, else from the known facts of the named pairs.
    Raises ModelUnavailable if neither exists, or config.json is invalid; Unsupported for another family.
    """
    folder = folder or _folder(settings, model)
    if folder is not None:
        shape = read_shape(read_config(folder), model.name)
        window = with_facts(model, folder).max_model_len
    elif model.id in KNOWN_SHAPES:
        shape, window = KNOWN_SHAPES[model.id], model.max_model_len
    else:
        raise ModelUnavailable(
            f"The size of {model.name} is not known before it is here: tandem models pull {model.id}", model=model.name
        )
    window = settings.max_model_len or window or DEFAULT_WINDOW
    return EngineDemand(role=role, model=model.name, shape=shape, window=window, share=share)


def _folder(settings: Settings, model: Model) -> Path | None:
    """Returns the folder with the model's config.json, if it is installed."""
    if is_folder(model.id):
        return Path(model.id).expanduser()
    downloaded = settings.models_dir / model.id
    return downloaded if (downloaded / "config.json").is_file() else packaged_folder(model.id)
