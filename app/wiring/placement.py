"""Which of the visible devices engines are placed on, and over how many of them each model is split, where the settings
leave that open."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog

from app.settings import Settings
from app.wiring.devices import Place, places, read_devices
from app.wiring.memory import RERANKER, pair_demands, plan_devices, plan_here, require_fit, with_query_engine
from app.wiring.plan_table import DeviceRow
from retrieval.device.alternatives import SPLITS
from retrieval.device.detect import find_device
from retrieval.device.engine_memory import EngineDemand
from retrieval.device.planner import DeviceMemory, Plan
from retrieval.errors import ConfigurationError, ModelUnavailable
from retrieval.models.profiles import ModelProfile

log = structlog.get_logger()

DemandsOf = Callable[[Settings], Sequence[EngineDemand]]


@dataclass(frozen=True, slots=True)
class Placement:
    settings: Settings
    """With `devices`, `tensor_parallel` and `query_engine` decided."""
    places: tuple[Place, ...]
    memory: Mapping[str, DeviceMemory]
    """Memory of every visible device by name, in the order in which TANDEM_DEVICES counts; empty where no program
    reports it, and nothing but the query engine is decided."""
    left_out: Mapping[str, str]
    """Reasons, by name, why engines are not on devices that the settings do not exclude."""
    plan: Plan | None
    """As `plan_here` returns it."""
    split_by_itself: bool
    """Whether each model is split because it fits no device, and not because a setting says so."""

    @property
    def rows(self) -> Sequence[DeviceRow]:
        """One for each visible device."""
        return [self._row(name, memory) for name, memory in self.memory.items()]

    def _row(self, name: str, memory: DeviceMemory) -> DeviceRow:
        place = next((place for place in self.places if name in place.devices), None)
        if place is None or self.plan is None:
            return DeviceRow(name, memory, note=self.left_out.get(name, "TANDEM_DEVICES leaves it out"))
        engines = [
            engine for engine in self.plan.engines if ("rerank" if engine.role == RERANKER else "embed") in place.roles
        ]
        others = [other for other in place.devices if other != name]
        return DeviceRow(name, memory, engines, f"models are split with {', '.join(others)}" if others else "")


def find_placement(settings: Settings, demands_of: DemandsOf, step_tokens: int | None = None) -> Placement:
    """Decides what `settings` leave open. Without TANDEM_DEVICES, a device on which the models do not fit, or only with
    a smaller window than on others, is left out; without TANDEM_TENSOR_PARALLEL, models that fit no device are split
    over the fewest equal ones that they fit. Where nothing fits, nothing is left out, and the plan says so.

    `demands_of` returns the demands of such settings. Blocks. Raises its errors and those of `plan_here`.
    """
    memory = read_devices()
    decided, left_out = _decided(settings, demands_of(settings), memory, step_tokens)
    decided = with_query_engine(decided, find_device(), lambda each: plan_here(each, demands_of(each), step_tokens))
    return Placement(
        settings=decided,
        places=places(decided),
        memory=memory,
        left_out=left_out,
        plan=plan_here(decided, demands_of(decided), step_tokens),
        split_by_itself=settings.tensor_parallel is None and decided.parts > 1,
    )


def check_memory(settings: Settings, pair: ModelProfile) -> Placement | None:
    """Returns the placement. Raises ConfigurationError if models do not fit, before anything is downloaded or started.
    Returns None for engines elsewhere, and for models that are neither installed nor well known: they are planned for
    once they are installed.
    """
    if settings.engine != "vllm":
        return None
    with suppress(ModelUnavailable):
        found = find_placement(settings, lambda each: pair_demands(each, pair))
        if found.plan is not None:
            require_fit(found.settings, found.plan, pair_demands(found.settings, pair), found.rows)
        return found
    return None


def log_placement(placement: Placement) -> None:
    for name, reason in placement.left_out.items():
        log.warning("device left out", device=name, reason=reason, remedy="TANDEM_DEVICES names the devices to use")
    if placement.split_by_itself:
        log.info("models are split over devices, since they fit none", devices_each=placement.settings.parts)
    for row in placement.rows:
        if row.engines:
            log.info(
                "device planned",
                device=row.name,
                kind=row.memory.name,
                engines=[engine.role for engine in row.engines],
                planned_bytes=row.planned_bytes,
                usable_bytes=row.memory.usable_bytes,
            )
    settings = placement.settings
    if placement.rows and settings.milvus_uri and settings.workers and not settings.worker_processes:
        log.warning(
            "one process ingests, more slowly than the devices embed",
            remedy="TANDEM_WORKER_PROCESSES (12 keep one H200 busy), or `tandem worker` with TANDEM_WORKERS=0 here",
        )


def _decided(
    settings: Settings, demands: Sequence[EngineDemand], memory: Mapping[str, DeviceMemory], step_tokens: int | None
) -> tuple[Settings, Mapping[str, str]]:
    stated, named = settings.tensor_parallel, settings.devices
    undecided = settings.model_copy(update={"tensor_parallel": settings.parts})
    nothing_open = stated is not None and named is not None
    if not memory or nothing_open or any(number >= len(memory) for number in named or ()):
        return undecided, {}
    for parts in SPLITS if stated is None else (stated,):
        try:
            found = _split(settings, parts, demands, memory, step_tokens)
        except ConfigurationError:
            if stated is not None:
                raise
            continue  # the heads of these models cannot be shared out so
        if found is not None:
            return found
    return undecided, {}


def _split(
    settings: Settings,
    parts: int,
    demands: Sequence[EngineDemand],
    memory: Mapping[str, DeviceMemory],
    step_tokens: int | None,
) -> tuple[Settings, Mapping[str, str]] | None:
    """Returns the decision if each model is split into `parts`; None if that does not fit."""
    names = tuple(memory)
    numbers = tuple(range(len(names))) if settings.devices is None else settings.devices
    settings = settings.model_copy(update={"tensor_parallel": parts})
    plans = {
        number: plan_devices(settings, demands, replace(memory[names[number]], count=len(numbers)), step_tokens)
        for number in numbers
    }
    fitting = {number: _window(found) for number, found in plans.items() if found.fits}
    if settings.devices is None:
        widest = max(fitting.values(), default=0)
        able = [number for number, window in fitting.items() if window == widest]
    elif len(fitting) == len(numbers):
        able = list(numbers)
    else:
        return None
    used = _equal_groups(able, [memory[name] for name in names], parts)
    if len(used) < parts * (1 if settings.placement == "both" else 2):
        return None
    left_out = {}
    for number in numbers:
        if number not in fitting:
            left_out[names[number]] = plans[number].message
        elif number not in able:
            left_out[names[number]] = f"A window of {fitting[number]:,} tokens fits, and {widest:,} on others."
        elif number not in used:
            left_out[names[number]] = (
                f"Models are split over {parts} devices of one kind, and too few are left beside it."
            )
    return settings.model_copy(update={"devices": tuple(used)}), left_out


def _window(found: Plan) -> int:
    return min(engine.max_model_len for engine in found.engines)


def _equal_groups(numbers: Sequence[int], memory: Sequence[DeviceMemory], parts: int) -> Sequence[int]:
    """Returns those of `numbers` that make whole groups of `parts` devices of one kind, one group after another."""
    if parts == 1:
        return numbers
    kinds: dict[tuple[str, int], list[int]] = {}
    for number in numbers:
        kinds.setdefault((memory[number].kind, memory[number].total_bytes), []).append(number)
    return [number for alike in kinds.values() for number in alike[: len(alike) // parts * parts]]
